"""What a module does in training alone is there once it is a graph, or is said to be lost; and weights keep dtypes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.compile.model import Compiled
from assembler.graph.structure import flatten
from assembler.importing import Imported, from_module
from assembler.importing.folder import read, save

tf = pytest.importorskip("transformers")
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]

TEXT = {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "use_cache": False}
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
CHANCE = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}


def gpt2() -> tuple[nn.Module, dict[str, Tensor]]:
    config = tf.GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=16, **TEXT)
    return tf.GPT2LMHeadModel(config), {"input_ids": torch.randint(0, 50, (4, 7))}


def bert() -> tuple[nn.Module, dict[str, Tensor]]:
    config = tf.BertConfig(max_position_embeddings=16, **SMALL, **TEXT, **CHANCE)
    return tf.BertForSequenceClassification(config), {"input_ids": torch.randint(0, 50, (4, 7))}


def vit() -> tuple[nn.Module, dict[str, Tensor]]:
    config = tf.ViTConfig(**SMALL, **CHANCE, image_size=16, patch_size=8, num_labels=5)
    return tf.ViTForImageClassification(config), {"pixel_values": torch.randn(4, 3, 16, 16)}


def convnext() -> tuple[nn.Module, dict[str, Tensor]]:
    sizes = {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2, "num_labels": 5}
    model = tf.ConvNextForImageClassification(tf.ConvNextConfig(drop_path_rate=0.5, **sizes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("layer_scale_parameter"):
                parameter.fill_(1.0)  # or nothing of what is dropped could be seen
    return model, {"pixel_values": torch.randn(4, 3, 32, 32)}


def resnet() -> tuple[nn.Module, dict[str, Tensor]]:
    config = tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5)
    return tf.ResNetForImageClassification(config), {"pixel_values": torch.randn(4, 3, 32, 32)}


class Handmade(nn.Module):
    """Dropout in the ways that people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.conv = nn.Conv1d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.fc(x), 0.2, training=self.training)
        if self.training:
            x = F.dropout(x, 0.3)
        maps = F.dropout1d(self.conv(x.transpose(1, 2)), 0.4, self.training).transpose(1, 2)
        p = 0.5 if self.training else 0.0
        return x + F.scaled_dot_product_attention(x, maps, maps, dropout_p=p)


def handmade() -> tuple[nn.Module, dict[str, Tensor]]:
    return Handmade(), {"x": torch.randn(4, 5, 8)}


class Skips(nn.Module):
    """A layer that training leaves out now and then, which no graph can say."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.rand(()) < 0.5:
            return x
        return self.fc(x)


class Counts(nn.Module):
    """Statistics that are kept by hand."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(8))
        self.fc = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen.add_(x.detach().mean(0))
        return self.fc(x) - self.seen


def brought(make: Callable[[], Any]) -> tuple[nn.Module, dict[str, Tensor], Imported]:
    torch.manual_seed(0)
    module, given = make()
    return module, given, from_module(module.eval(), given)


def run(module: nn.Module, given: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    made = module(*given.values()) if isinstance(module, Compiled) else module(**given)
    return {"": made} if isinstance(made, Tensor) else dict(flatten(dict(made)))


@pytest.mark.parametrize("make", [gpt2, bert, vit, handmade])
def test_training_drops_what_the_module_drops(make: Callable[[], Any]) -> None:
    """The same draws give the same outputs, other draws others; evaluation draws nothing."""
    module, given, found = brought(make)
    assert found.untrained == ""
    ours = found.build()
    for mode, seeds in ((True, (3, 4)), (False, (3, 3))):
        results = []
        for seed in seeds:
            made, theirs = run(ours.train(mode), given, seed), run(module.train(mode), given, seed)
            for name, value in made.items():
                torch.testing.assert_close(value, theirs[name or next(iter(theirs))], rtol=1e-4, atol=1e-5)
            results.append(next(iter(made.values())))
        assert torch.equal(*results) is (not mode)


def test_stochastic_depth_leaves_out_what_the_module_leaves_out() -> None:
    """Two blocks that may go make four outputs of one sample, the same four in both."""
    module, given, found = brought(convnext)
    assert found.untrained == ""
    one = {name: value[:1].expand(32, -1, -1, -1) for name, value in given.items()}
    ours, theirs = (run(m.train(), one, 1) for m in (found.build(), module))
    kinds = [{tuple((row * 1e3).round().tolist()) for row in next(iter(r.values()))} for r in (ours, theirs)]
    assert len(kinds[0]) == 4 and kinds[0] == kinds[1]
    rates = [node.arg("p") for node in found.graph.nodes.values() if node.op == "drop_path"]
    assert rates == pytest.approx([0.25, 0.5])


@pytest.mark.parametrize("make", [resnet, gpt2])
def test_a_step_of_training_is_the_modules(make: Callable[[], Any]) -> None:
    """Batch statistics, gradients and running statistics, and dropout's draws."""
    module, given, found = brought(make)
    ours = found.build().train()
    made, theirs = run(ours, given, 5), run(module.train(), given, 5)
    for values in (made, theirs):
        next(iter(values.values())).square().sum().backward()
    grads = dict(module.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, grads[name].grad, rtol=1e-4, atol=1e-5)
    state = module.state_dict()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (Skips(), "Skips cannot be traced for any batch: "),
        (Counts(), "the model changes its own 'seen' when it runs, a graph cannot"),
    ],
)
def test_what_training_alone_does_is_said_to_be_lost(module: nn.Module, why: str, tmp_path: Path) -> None:
    found = from_module(module.eval(), torch.randn(3, 8))
    assert found.untrained.startswith(why)
    assert next(node.op for node in found.graph.nodes.values()) == "linear"
    save(found, tmp_path)
    assert read(tmp_path).untrained == found.untrained


def test_a_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), Counts())
    module[1].eval()
    modes = [m.training for m in module.modules()]
    before, random = {k: v.clone() for k, v in module.state_dict().items()}, torch.random.get_rng_state()
    from_module(module, torch.randn(3, 8, generator=torch.Generator().manual_seed(0)))
    assert [m.training for m in module.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random)
    assert [m for m in module.modules() if "forward" in m.__dict__] == []


class DropPath(nn.Module):
    """Called what drops paths, and it drops single numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.p = 0.5

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)


def test_a_name_alone_makes_no_drop_path() -> None:
    found = from_module(nn.Sequential(nn.Linear(8, 8), DropPath()).eval(), torch.randn(3, 8))
    assert [node.op for node in found.graph.nodes.values()] == ["linear", "dropout"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_weights_keep_their_dtype(dtype: torch.dtype, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 4)).to(dtype).eval()
    x = torch.randn(3, 8).to(dtype)
    found = from_module(module, x)
    assert found.dtype == dtype and found.difference <= 1e-5
    save(found, tmp_path)
    for one in (found, read(tmp_path)):
        assert {k: v.dtype for k, v in one.weights.items()} == {k: v.dtype for k, v in module.state_dict().items()}
        assert one.weights["1.num_batches_tracked"].dtype == torch.int64
        built = one.build().eval()
        assert all(torch.equal(v, module.state_dict()[k]) for k, v in built.state_dict().items())
        torch.testing.assert_close(built(x), module(x))
    assert next(module.parameters()).dtype == dtype


def test_several_dtypes_become_the_one_that_holds_all() -> None:
    module = nn.Sequential(nn.Linear(8, 8).bfloat16(), nn.Linear(8, 4)).eval()
    found = from_module(module, torch.randn(3, 8))
    assert found.weights["0.weight"].dtype == torch.bfloat16 and found.weights["1.weight"].dtype == torch.float32
    assert found.dtype == torch.float32 and found.build()(torch.randn(3, 8)).dtype == torch.float32
