"""The shipped language models agree with those of transformers, whose weights their maps read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import assembler as asm
from assembler.compile.mapping import mapped
from assembler.recipe.document import load
from assembler.recipe.weights import weights_of

transformers = pytest.importorskip("transformers")

WORDS, LONG = 61, 30
SMALL = f"vars.vocab={WORDS}", f"vars.tokens={LONG}", "vars.depth=2"


@dataclass(frozen=True)
class Peer:
    """A recipe in a small size, the same model of transformers, and both on the same words."""

    recipe: str
    sizes: tuple[str, ...]
    make: Callable[[], nn.Module]
    inputs: Callable[[], dict[str, Tensor]]
    theirs: Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]]

    def build(self, **how: Any) -> nn.Module:
        return asm.build(self.recipe, *SMALL, *self.sizes, **how).eval()

    def peer(self) -> nn.Module:
        torch.manual_seed(1)
        found = self.make().eval()
        with torch.no_grad():  # a fresh norm is all ones and a fresh bias all zeros, which hides a mix-up
            for p in found.parameters():
                p.add_(torch.randn_like(p), alpha=0.05)
        return found

    def outputs(self, module: nn.Module) -> dict[str, Tensor]:
        with torch.no_grad():
            found = module(**self.inputs())
        return found if isinstance(found, dict) else {"logits": found}


def words(*shape: int) -> Tensor:
    return torch.randint(WORDS, shape or (3, LONG), generator=torch.Generator().manual_seed(2))


def padding() -> Tensor:
    """1 for words and 0 for padding, another length for each of three samples."""
    return (torch.arange(LONG) < torch.tensor([[LONG], [17], [1]])).long()


def _gpt2() -> nn.Module:
    config = transformers.GPT2Config(vocab_size=WORDS, n_positions=32, n_embd=24, n_layer=2, n_head=3)
    return transformers.GPT2LMHeadModel(config)


def _bert(cls: str) -> nn.Module:
    config = transformers.BertConfig(
        vocab_size=WORDS, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40,
        max_position_embeddings=32,
    )  # fmt: skip
    return getattr(transformers, cls)(config)


def _t5() -> nn.Module:
    config = transformers.T5Config(vocab_size=WORDS, d_model=24, d_kv=5, d_ff=40, num_layers=2, num_heads=3)
    return transformers.T5ForConditionalGeneration(config)


def _mamba() -> nn.Module:
    config = transformers.MambaConfig(
        vocab_size=WORDS, hidden_size=32, num_hidden_layers=2, state_size=5, time_step_rank=2
    )
    return transformers.MambaForCausalLM(config)


def _bert_inputs() -> dict[str, Tensor]:
    return {"ids": words(), "types": words() % 2, "mask": padding()}


def _bert_call(x: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"input_ids": x["ids"], "token_type_ids": x["types"], "attention_mask": x["mask"]}


def _bert_theirs(model: nn.Module, x: dict[str, Tensor]) -> dict[str, Tensor]:
    found = model(**_bert_call(x))
    return {"hidden": found.last_hidden_state, "pooled": found.pooler_output}


def _t5_theirs(model: nn.Module, x: dict[str, Tensor]) -> dict[str, Tensor]:
    found = model(input_ids=x["source"], attention_mask=x["mask"], decoder_input_ids=x["target"])
    return {"logits": found.logits, "hidden": found.encoder_last_hidden_state}


def _causal(model: nn.Module, x: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"logits": model(input_ids=x["ids"]).logits}


BERT = "vars.dim=24", "vars.heads=3", "vars.hidden=40", "vars.context=32"
MAMBA = "vars.dim=32", "vars.states=5", "vars.rank=2"
PEERS = {
    "gpt2": Peer("gpt2", ("vars.dim=24", "vars.heads=3", "vars.context=32"), _gpt2, lambda: {"ids": words()}, _causal),
    "bert_base": Peer("bert_base", BERT, lambda: _bert("BertModel"), _bert_inputs, _bert_theirs),
    "bert_mlm": Peer(
        "bert_mlm",
        BERT,
        lambda: _bert("BertForMaskedLM"),
        _bert_inputs,
        lambda model, x: {"logits": model(**_bert_call(x)).logits},
    ),
    "t5_small": Peer(
        "t5_small",
        ("vars.dim=24", "vars.heads=3", "vars.head_dim=5", "vars.hidden=40"),
        _t5,
        lambda: {"source": words(), "mask": padding(), "target": words(3, LONG - 2)},
        _t5_theirs,
    ),
    "mamba": Peer("mamba", MAMBA, _mamba, lambda: {"ids": words()}, _causal),
    "mamba_parallel": Peer("mamba", (*MAMBA, "vars.method=parallel"), _mamba, lambda: {"ids": words()}, _causal),
}


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Peer:
    return PEERS[request.param]


def count(module: nn.Module) -> int:
    """Parameters, those that are shared once."""
    return sum(p.numel() for p in module.parameters())


def agree(peer: Peer, module: nn.Module, model: nn.Module) -> None:
    with torch.no_grad():
        wanted = peer.theirs(model, peer.inputs())
    found = peer.outputs(module)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0)


def test_a_checkpoint_of_transformers_gives_the_same_outputs(peer: Peer, tmp_path: Path) -> None:
    model = peer.peer()
    model.save_pretrained(tmp_path)
    module = peer.build(weights=tmp_path)
    agree(peer, module, model)
    assert count(module) == count(model)
    assert module.meta["unread"] == ()
    unbuilt = peer.build(weights=tmp_path, device="meta")
    agree(peer, unbuilt, model)
    assert count(unbuilt) == count(model)


def test_a_state_dict_is_mapped_in_memory(peer: Peer) -> None:
    model, module = peer.peer(), peer.build()
    section = weights_of(load(peer.recipe, [*SMALL, *peer.sizes]).model)
    assert section is not None and section.map is not None
    module.load_state_dict(mapped(section.map, model.state_dict(), module.state_dict()))
    agree(peer, module, model)


def test_names_without_the_prefix_of_the_whole_model_are_read_too(tmp_path: Path) -> None:
    model = PEERS["gpt2"].peer()
    model.transformer.save_pretrained(tmp_path)  # as on the hub: no `transformer.`, no head
    agree(PEERS["gpt2"], PEERS["gpt2"].build(weights=tmp_path), model)


def test_the_old_names_of_norms_are_read_too(tmp_path: Path) -> None:
    model = PEERS["bert_mlm"].peer()
    state = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in model.state_dict().items()
    }
    torch.save({**state, "cls.seq_relationship.bias": torch.zeros(2)}, tmp_path / "pytorch_model.bin")
    module = PEERS["bert_mlm"].build(weights=tmp_path)
    agree(PEERS["bert_mlm"], module, model)
    assert module.meta["unread"] == ("cls.seq_relationship.bias",)


def test_shorter_sequences_run_and_padding_changes_nothing() -> None:
    module = PEERS["t5_small"].build()
    ids, mask, target = words(2, 6), torch.ones(2, 6, dtype=torch.int64), words(2, 4)
    longer = torch.cat([ids, words(2, 3)], 1), torch.cat([mask, torch.zeros(2, 3, dtype=torch.int64)], 1)
    with torch.no_grad():
        short, long = module(ids, mask, target), module(*longer, target)
    torch.testing.assert_close(long["logits"], short["logits"], atol=1e-6, rtol=0)


def test_no_token_sees_later_ones() -> None:
    for name in ("gpt2", "mamba", "mamba_parallel"):
        module, ids = PEERS[name].build(), words()
        other = ids.clone()
        other[:, 7:] = (other[:, 7:] + 1) % WORDS
        with torch.no_grad():
            first, second = module(ids), module(other)
        torch.testing.assert_close(first[:, :7], second[:, :7], atol=1e-6, rtol=0)
        assert not torch.allclose(first[:, 7:], second[:, 7:], atol=1e-3)


def test_tied_weights_are_one_parameter_and_train_as_one() -> None:
    module = PEERS["t5_small"].build()
    assert module.head.weight is module.embed.weight
    module(**PEERS["t5_small"].inputs())["logits"].sum().backward()
    assert module.embed.weight.grad is not None


KNOWN = {
    "gpt2": 124_439_808,
    "bert_base": 109_482_240,
    "bert_mlm": 109_514_298,
    "t5_small": 60_506_624,
    "mamba": 129_135_360,
}


@pytest.mark.parametrize("recipe", KNOWN)
def test_full_size_has_the_known_number_of_parameters(recipe: str) -> None:
    assert count(asm.build(recipe, device="meta")) == KNOWN[recipe]


SCALES = {
    "gpt2@medium": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=1024, n_layer=24, n_head=16)),
    "bert_base@large": lambda: transformers.BertModel(
        transformers.BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    ),
    "t5_small@base": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(d_model=768, d_ff=3072, num_layers=12, num_heads=12)
    ),
    "mamba@370m": lambda: transformers.MambaForCausalLM(
        transformers.MambaConfig(hidden_size=1024, num_hidden_layers=48)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SCALES)
def test_larger_sizes_have_the_parameters_of_transformers(recipe: str) -> None:
    with torch.device("meta"):
        model = SCALES[recipe]()
    assert count(asm.build(recipe, device="meta")) == count(model)
