"""Models of transformers, small and random, brought in: outputs, names, costs, and what can then be done with them."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import assembler as asm
from assembler.compile.lower import lower
from assembler.graph import edit
from assembler.graph.structure import flatten
from assembler.graph.text import from_text, to_text
from assembler.importing import Imported, from_module
from assembler.infer.cost import total
from assembler.infer.shape import shapes

tf = pytest.importorskip("transformers")
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]

WORDS = 50
TEXT = {"vocab_size": WORDS, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "use_cache": False}
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
IMAGE = {"image_size": 16, "patch_size": 8, "num_labels": 5}


def ids(length: int = 7) -> torch.Tensor:
    return torch.randint(0, WORDS, (2, length))


def gpt2() -> Any:
    config = tf.GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=16, **TEXT)
    return tf.GPT2LMHeadModel(config), {"input_ids": ids()}


def bert() -> Any:
    config = tf.BertConfig(max_position_embeddings=16, **SMALL, **TEXT)
    return tf.BertForSequenceClassification(config), {"input_ids": ids(), "attention_mask": torch.ones(2, 7).long()}


def vit() -> Any:
    return tf.ViTForImageClassification(tf.ViTConfig(**SMALL, **IMAGE)), {"pixel_values": torch.randn(2, 3, 16, 16)}


def t5() -> Any:
    kept = {k: v for k, v in TEXT.items() if k != "bos_token_id"}
    config = tf.T5Config(num_layers=1, num_heads=2, d_model=32, d_kv=16, d_ff=64, decoder_start_token_id=0, **kept)
    return tf.T5ForConditionalGeneration(config), {"input_ids": ids(), "decoder_input_ids": ids(5)}


def resnet() -> Any:
    config = tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5)
    return tf.ResNetForImageClassification(config), {"pixel_values": torch.randn(2, 3, 32, 32)}


def convnext() -> Any:
    config = tf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 2], num_stages=2, num_labels=5)
    return tf.ConvNextForImageClassification(config), {"pixel_values": torch.randn(2, 3, 32, 32)}


def llama() -> Any:
    small = {**SMALL, "num_attention_heads": 4}
    config = tf.LlamaConfig(num_key_value_heads=2, max_position_embeddings=16, **small, **TEXT)
    return tf.LlamaForCausalLM(config), {"input_ids": ids()}


def swin() -> Any:
    config = tf.SwinConfig(image_size=32, embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=4, num_labels=5)
    return tf.SwinForImageClassification(config), {"pixel_values": torch.randn(2, 3, 32, 32)}


def mamba() -> Any:
    config = tf.MambaConfig(num_hidden_layers=1, hidden_size=16, state_size=4, vocab_size=WORDS, use_cache=False)
    return tf.MambaForCausalLM(config), {"input_ids": ids()}


def distilbert() -> Any:
    config = tf.DistilBertConfig(n_layers=1, n_heads=2, dim=32, hidden_dim=64, max_position_embeddings=16, **TEXT)
    return tf.DistilBertModel(config), {"input_ids": ids()}


def whisper() -> Any:
    sizes = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in
             (("layers", 1), ("attention_heads", 2), ("ffn_dim", 64))}  # fmt: skip
    positions = {"num_mel_bins": 8, "max_source_positions": 10, "max_target_positions": 12}
    config = tf.WhisperConfig(d_model=32, decoder_start_token_id=0, **sizes, **positions, **TEXT)
    given = {"input_features": torch.randn(2, 8, 20), "decoder_input_ids": ids(5)}
    return tf.WhisperForConditionalGeneration(config), given


QUICK = (gpt2, bert, vit, t5, resnet)
MORE = (convnext, llama, swin, mamba, distilbert, whisper)
ALL = [*QUICK, *(pytest.param(m, marks=pytest.mark.slow) for m in MORE)]


@functools.cache
def brought(make: Callable[[], Any]) -> tuple[Any, dict[str, torch.Tensor], Imported]:
    torch.manual_seed(0)
    model, given = make()
    return model.eval(), given, from_module(model, given)


@pytest.mark.parametrize("make", ALL)
def test_computes_what_the_model_does_at_another_batch(make: Callable[[], Any]) -> None:
    model, given, found = brought(make)
    assert found.difference <= 1e-5
    more = {name: torch.cat([v, v.flip(0), v])[:5] for name, v in given.items()}
    with torch.no_grad():
        theirs, ours = model(**more), found.build().eval()(*more.values())
    ours = {found.graph.outputs[0][0]: ours} if isinstance(ours, torch.Tensor) else dict(flatten(ours))
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", ALL)
def test_costs_what_the_model_costs(make: Callable[[], Any]) -> None:
    model, given, found = brought(make)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(**given)  # the other attention kernels of a CPU have no FLOP formula
    cost = total(found.graph)
    used = {name.removesuffix(".weight") for name, _ in found.build().named_parameters()}
    every = model.named_parameters(remove_duplicate=False)
    params = {id(p): p.numel() for n, p in every if {n, n.removesuffix(".weight")} & used}
    assert cost.flops == counter.get_total_flops() // 2
    assert cost.params == sum(params.values())


@pytest.mark.parametrize("make", ALL)
def test_reads_back_from_text(make: Callable[[], Any]) -> None:
    graph = brought(make)[2].graph
    assert from_text(to_text(graph)) == graph


def test_known_modules_are_the_ops_that_they_are() -> None:
    nodes = brought(bert)[2].graph.nodes
    layer = "bert.encoder.layer.1"
    assert (nodes[f"{layer}.output.dense"].op, nodes[f"{layer}.output.dense"].args) == ("linear", (("out", 32),))
    assert nodes[f"{layer}.output.LayerNorm"].args == (("eps", 1e-12),)
    assert nodes["bert.embeddings.word_embeddings"].op == "embedding"
    assert nodes[f"{layer}.intermediate.intermediate_act_fn.gelu"].op == "gelu"


@pytest.mark.parametrize("make", [bert, gpt2, vit, resnet])
def test_weights_bear_the_names_of_the_model(make: Callable[[], Any]) -> None:
    model, _, found = brought(make)
    assert dict(found.build().state_dict()).keys() == model.state_dict().keys()


def test_tied_weights_stay_tied() -> None:
    found = brought(gpt2)[2]
    assert brought(t5)[2].graph.nodes["decoder.embed_tokens"].share == (("weight", "encoder.embed_tokens.weight"),)
    assert found.graph.nodes["lm_head"].share == (("weight", "transformer.wte.weight"),)
    module = found.build()
    assert module.get_parameter("lm_head.weight") is module.get_parameter("transformer.wte.weight")


def test_the_causal_mask_is_said_in_a_word() -> None:
    graph = brought(gpt2)[2].graph
    masked = [node for _, node in graph if node.op == "dot_product_attention"]  # which drops weights in training
    assert [(node.arg("causal"), node.arg("dropout")) for node in masked] == [(True, 0.1), (True, 0.1)]
    assert all("bias" not in dict(node.inputs) for node in masked)


@pytest.mark.parametrize(
    ("make", "path"),
    [(gpt2, "transformer.h.1"), (vit, "vit.layers.0"), (resnet, "resnet.encoder.stages.1"), (t5, "encoder.block.0")],
)
def test_a_block_can_be_cut_out_put_back_and_trained(make: Callable[[], Any], path: str) -> None:
    graph = brought(make)[2].graph
    part = edit.extract(graph, path, shapes(graph))
    assert edit.graft(graph, path, part) == graph
    module = lower(part).train()
    x = torch.randn(part.inputs[0][1].shape)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    before = module(x).square().mean()
    before.backward()
    assert all(p.grad is not None for p in module.parameters())
    optimizer.step()


def test_a_block_can_be_replaced_by_a_step() -> None:
    graph = brought(gpt2)[2].graph
    smaller = graph.replace("transformer.h.1", op="identity")
    assert len(smaller) < len(graph)
    assert lower(smaller)(ids()).shape == (2, 7, WORDS)


def test_the_public_name() -> None:
    assert asm.from_module is from_module
