"""Sizes of inputs: a trace holds for those at which it is the same graph, or whose axis was left open."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import assembler as asm
from assembler.compile.source import to_source
from assembler.errors import GraphError, StepError
from assembler.importing import from_module


class Unrolled(nn.Module):
    """A recurrence that Python runs: a trace of it has as many rounds as the example has places."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.mix = nn.Linear(8, 8)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        state = torch.zeros_like(x[:, 0])
        for place in range(x.shape[1]):
            state = torch.tanh(self.mix(state) + x[:, place])
        return state


class Attention(nn.Module):
    """Positions of a table, a causal mask and heads: all that a language model does with its length."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.mix = nn.Linear(8, 8)
        self.register_buffer("places", torch.arange(19)[None], persistent=False)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        batch, length = tokens.shape
        x = self.embed(tokens) + self.embed(self.places[:, :length])
        q = self.mix(x).view(batch, length, 2, 4).transpose(1, 2)
        seen = torch.ones(length, length, dtype=torch.bool).tril() & mask[:, None, None].bool()
        made = nn.functional.scaled_dot_product_attention(q, q, q, seen)
        return made.transpose(1, 2).reshape(batch, length, 8)


class Padded(nn.Module):
    """Another computation at some sizes alone, and not at the double of the example's."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (0, -x.shape[1] % 4)).cumsum(1).mean(1)


def _tokens(length: int, batch: int = 2) -> Tensor:
    return torch.randint(0, 20, (batch, length))


def test_an_unrolled_loop_refuses_another_length(tmp_path: Path) -> None:
    module = Unrolled().eval()
    built = from_module(module, {"tokens": _tokens(6)}).build().eval()
    x = _tokens(6, 5)
    torch.testing.assert_close(built(x), module(x))
    with pytest.raises(StepError) as caught:
        built(_tokens(9))
    said = "axis 1 of tokens was traced at 6, and is 9: import the model with --free tokens.1, or at that size"
    assert str(caught.value).split("\n")[0] == (
        f"tokens_sized: error: tokens_sized (sized) failed on tokens int64[2, 9]: {said}"
    )
    with pytest.raises(ValueError, match="axis 1 of tokens was traced at 6, and is 9"):
        _alone(tmp_path, built)(_tokens(9))


def _alone(folder: Path, built: Any) -> Any:
    (folder / "model.py").write_text(to_source(built.meta["graph"]))
    spec = importlib.util.spec_from_file_location("alone", folder / "model.py")
    assert spec and spec.loader
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    return alone.Model().eval()


def test_a_renamed_input_is_called_by_its_new_name(tmp_path: Path) -> None:
    from assembler.importing.folder import save

    save(from_module(Unrolled(), {"tokens": _tokens(6)}), tmp_path)
    with pytest.raises(StepError, match="axis 1 of words was traced at 6"):
        asm.build(tmp_path, "inputs.tokens=words")(_tokens(9))


def test_sizes_that_change_nothing_are_free_by_themselves() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    found = from_module(net, torch.randn(2, 3, 8, 8))
    assert all(node.op != "sized" for _, node in found.graph)
    x = torch.randn(3, 3, 17, 11)
    torch.testing.assert_close(found.build()(x), net(x))


def test_what_depends_on_the_size_in_another_way_at_some_sizes_is_fixed() -> None:
    found = from_module(Padded(), torch.randn(2, 8))
    assert found.graph.nodes["x_sized"].arg("shape") == (-1, 8)


class Odd(nn.Module):
    """Another computation at one size alone, of the batch or of another axis."""

    def __init__(self, axis: int, size: int) -> None:
        super().__init__()
        self.axis, self.size = axis, size

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x.tanh() if x.shape[self.axis] == self.size else x.tanh()


@pytest.mark.parametrize("size", [1, 5, 13])
def test_one_size_at_which_the_module_does_something_else(size: int) -> None:
    found = from_module(Odd(1, size), torch.randn(2, 8))
    assert found.graph.nodes["x_sized"].arg("shape") == (-1, 8)
    assert list(found.checked) == ["batch"]


def test_a_lone_sample_is_compared_too() -> None:
    with pytest.raises(GraphError) as caught:
        from_module(Odd(0, 1), torch.randn(2, 8))
    said = r"output: error: the graph's output 'output' differs from the module's by [\d.]+ for x \[1, 8\]"
    assert re.fullmatch(said, str(caught.value))


def test_the_import_says_what_is_free_and_what_was_tried(tmp_path: Path) -> None:
    found = from_module(
        Attention().eval(), {"tokens": _tokens(6), "mask": torch.ones(2, 6)}, free=["tokens.1", "mask.1"]
    )
    lengths = [1, 2, 3, 4, 5, 7, 8, 11, 12, 13]
    assert found.checked == {"batch": [1, 3, 4, 7], "tokens.1": lengths, "mask.1": lengths}
    net = from_module(nn.Conv1d(2, 3, 3), torch.randn(2, 2, 8))
    assert net.checked == {"batch": [1, 3, 4, 7], "input.2": [3, 4, 5, 7, 9, 11, 13, 16]}


def test_channels_that_weights_fix_need_no_check() -> None:
    found = from_module(nn.Sequential(nn.Linear(8, 8), nn.Tanh()), torch.randn(2, 8))
    assert list(found.graph.nodes) == ["0", "1"]


def test_a_free_axis_is_right_at_other_sizes() -> None:
    module = Attention().eval()
    example = {"tokens": _tokens(6), "mask": torch.ones(2, 6)}
    found = from_module(module, example, free=["tokens.1", "mask.1"])
    built = found.build().eval()
    for length in (2, 5, 19):
        mask = torch.ones(3, length)
        mask[1, length // 2 + 1 :] = 0
        tokens = _tokens(length, 3)
        torch.testing.assert_close(built(tokens, mask), module(tokens, mask))
    with pytest.raises(StepError, match="axis 1 of mask may be 19 at most, and is 20"):
        built(_tokens(20), torch.ones(2, 20))


def test_a_free_axis_is_free_in_model_py(tmp_path: Path) -> None:
    module = Attention().eval()
    found = from_module(module, {"tokens": _tokens(6), "mask": torch.ones(2, 6)}, free=["tokens.1", "mask.1"])
    built = found.build().eval()
    alone = _alone(tmp_path, built)
    alone.load_state_dict(built.state_dict())
    tokens, mask = _tokens(11, 3), torch.ones(3, 11)
    torch.testing.assert_close(alone(tokens, mask), module(tokens, mask))
    with pytest.raises(ValueError, match=r"axis 1 of mask may be 19 at most, and is 20$"):
        alone(tokens, torch.ones(3, 20))


@pytest.mark.parametrize(
    ("free", "message"),
    [
        (
            "tokens.1",
            "error: tokens.1 cannot be free: the module is traced for 6 alone\n"
            "    hint: something in it is worked out for that size, or unrolled over it",
        ),
        ("token.1", "error: free axis 'token.1': the example has no input 'token'\n    hint: did you mean 'tokens'?"),
        ("tokens.0", "error: free axis 'tokens.0': the axes of tokens that may be free are 1 to 1"),
    ],
)
def test_axes_that_cannot_be_free(free: str, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        from_module(Unrolled(), {"tokens": _tokens(6)}, free=[free])
    assert str(caught.value) == message


def test_an_opaque_part_has_the_sizes_of_the_example() -> None:
    net = nn.Sequential(nn.Conv1d(2, 2, 1), nn.Tanh())
    with pytest.raises(GraphError, match="no axis can be free with '1' kept as it is"):
        from_module(net, torch.randn(2, 2, 6), free=["input.2"], opaque=["1"])


@pytest.mark.filterwarnings("ignore")
def test_a_language_model_with_a_free_length() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=20
    )
    module = transformers.LlamaModel(config).eval()
    built = from_module(module, {"input_ids": _tokens(6)}, free=["input_ids.1"]).build().eval()
    tokens = _tokens(13, 3)
    torch.testing.assert_close(built(tokens), module(tokens).last_hidden_state)
