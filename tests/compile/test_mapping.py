"""A weights map makes the model's tensors of anybody's, and says of each mistake where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from assembler.compile.mapping import mapped, unread
from assembler.errors import InputError, RecipeError


def state(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """A tensor of random numbers for each shape, `__` in a name standing for a dot."""
    torch.manual_seed(0)
    return {name.replace("__", "."): torch.randn(shape) for name, shape in shapes.items()}


def one(rule: Any, theirs: Mapping[str, Tensor], *shape: int) -> Tensor:
    """What a rule makes for a tensor `w` of that shape."""
    return mapped({"w": rule}, theirs, {"w": torch.empty(shape)})["w"]


def said(map: Mapping[str, Any], theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> list[str]:
    with pytest.raises(InputError) as caught:
        mapped(map, theirs, ours)
    return [f"{p.message} ({p.hint})" if p.hint else p.message for p in caught.value.problems]


def test_the_kth_star_stands_for_the_kth() -> None:
    theirs = state(h__0__lin__weight=(2, 3), h__1__lin__weight=(2, 3), h__1__lin__bias=(2,))
    ours = {
        "block.0.fc.weight": torch.empty(2, 3),
        "block.1.fc.weight": torch.empty(2, 3),
        "block.1.fc.bias": torch.empty(2),
    }
    found = mapped({"block.*.fc.*": "h.*.lin.*"}, theirs, ours)
    assert found["block.0.fc.weight"] is theirs["h.0.lin.weight"]
    assert found["block.1.fc.weight"] is theirs["h.1.lin.weight"]
    assert found["block.1.fc.bias"] is theirs["h.1.lin.bias"]


def test_a_star_is_one_part_of_a_name_or_some_of_it() -> None:
    theirs = state(layer1__w=(1,), layer12__w=(1,), shared=(1,))
    ours = {"s.1.w": torch.empty(1), "s.12.w": torch.empty(1), "t.3": torch.empty(1)}
    found = mapped({"s.*.w": "layer*.w", "t.*": "shared"}, theirs, ours)
    assert found["s.12.w"] is theirs["layer12.w"] and found["t.3"] is theirs["shared"]
    assert "no rule of the weights map covers 's.1.w'" in said({"s.*": "layer*.w", "t.*": "shared"}, theirs, ours)[0]


def test_the_first_pattern_that_fits_wins() -> None:
    theirs = state(a=(1,), b=(1,))
    found = mapped({"x.0": "a", "x.*": "b"}, theirs, {"x.0": torch.empty(1), "x.1": torch.empty(1)})
    assert found["x.0"] is theirs["a"] and found["x.1"] is theirs["b"]


def test_tensors_are_joined_cut_and_laid_out_anew() -> None:
    t = state(q=(4, 2), k=(4, 2), v=(4, 2), qkv=(12, 2), conv=(3, 2, 5))
    assert torch.equal(one({"concat": ["q", "k", "v"]}, t, 12, 2), torch.cat([t["q"], t["k"], t["v"]]))
    assert torch.equal(one({"concat": ["q", "k"], "axis": 1}, t, 4, 4), torch.cat([t["q"], t["k"]], 1))
    assert torch.equal(one({"from": "q", "transpose": True}, t, 2, 4), t["q"].t())
    assert torch.equal(one({"from": "q", "transpose": False}, t, 4, 2), t["q"])
    assert torch.equal(one({"from": "qkv", "chunk": [1, 3]}, t, 4, 2), t["qkv"][4:8])
    assert torch.equal(one({"from": "qkv", "chunk": [1, 2], "axis": 1}, t, 12, 1), t["qkv"][:, 1:])
    assert torch.equal(one({"from": "conv", "permute": [2, 0, 1]}, t, 5, 3, 2), t["conv"].permute(2, 0, 1))
    assert torch.equal(one({"from": "qkv", "reshape": [3, -1]}, t, 3, 8), t["qkv"].reshape(3, 8))


def test_edits_are_done_in_the_order_in_which_they_stand() -> None:
    t = state(w=(2, 6))
    first = one({"from": "w", "reshape": [2, 3, 2], "permute": [1, 0, 2], "chunk": [0, 3]}, t, 1, 2, 2)
    assert torch.equal(first, t["w"].reshape(2, 3, 2).permute(1, 0, 2)[:1])
    assert torch.equal(one({"from": "w", "transpose": True, "reshape": [2, 6]}, t, 2, 6), t["w"].t().reshape(2, 6))


def test_what_is_made_may_be_made_of_what_is_made() -> None:
    t = state(q=(2, 4), kv=(4, 4))
    rule = {"concat": [{"from": "q", "transpose": True}, {"from": "kv", "chunk": [1, 2], "transpose": True}], "axis": 1}
    assert torch.equal(one(rule, t, 4, 4), torch.cat([t["q"].t(), t["kv"][2:].t()], 1))


def test_the_first_name_that_is_there_is_taken() -> None:
    t = state(gamma=(3,))
    assert one({"any": ["weight", "gamma"]}, t, 3) is t["gamma"]
    assert said({"w": {"any": ["weigh", "gama"]}}, t, {"w": torch.empty(3)}) == [
        "the weights have neither 'weigh' nor 'gama', which 'w' is made of (did you mean 'gamma'?)"
    ]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1))
def test_chunks_joined_again_are_the_whole(n: int, size: int, axis: int) -> None:
    whole = torch.arange(n * size * 12.0).reshape(n * size, 12) if axis == 0 else torch.rand(5, n * size)
    parts = [{"from": "t", "chunk": [k, n], "axis": axis} for k in range(n)]
    rule = {"concat": parts, "axis": axis} if n > 1 else parts[0]
    assert torch.equal(one(rule, {"t": whole}, *whole.shape), whole)


def test_every_mistake_is_said_with_the_nearest_right_name() -> None:
    theirs = state(h__0__w=(2,), h__1__w=(3,))
    ours = {
        "block.0.w": torch.empty(2),
        "block.1.w": torch.empty(2),
        "block.1.b": torch.empty(2),
        "head.w": torch.empty(2),
    }
    assert said({"block.*.w": "h.*.w", "head.w": "lm.w", "blok.*.b": "h.*.b"}, theirs, ours) == [
        "the weights have no 'lm.w', which 'head.w' is made of (they have h.0.w, h.1.w, ...)",
        "no rule of the weights map covers 'block.1.b' (did you mean 'blok.*.b'?)",
        "the pattern 'blok.*.b' of the weights map fits no tensor of the model (did you mean 'block.1.b'?)",
        "'block.1.w' is [3] in the weights, the model needs [2]",
    ]


def test_a_pattern_behind_one_that_takes_all_is_said_to_be_so() -> None:
    found = said({"*": "a", "x": "a"}, state(a=(1,)), {"x": torch.empty(1)})
    assert found[0].startswith("the pattern 'x' of the weights map is never reached: others before it take all")


def test_edits_that_do_not_suit_a_shape_are_said_by_the_recipes_path() -> None:
    t = state(w=(4, 3), v=(2, 2))
    ours = {"fc.w": torch.empty(4, 3)}
    assert said({"fc.w": {"from": "w", "chunk": [0, 3]}}, t, ours) == [
        "'fc.w': chunk does not suit [4, 3]: axis 0 of 4 does not split into 3 equal parts"
    ]
    assert said({"fc.w": {"from": "w", "reshape": [5, -1]}}, t, ours)[0].startswith(
        "'fc.w': reshape does not suit [4, 3]"
    )
    assert said({"fc.w": {"concat": ["w", "v"]}}, t, ours)[0].startswith("'fc.w': concat does not suit [4, 3], [2, 2]")
    assert said({"fc.w": {"from": "w", "permute": [0, 2, 1]}}, t, ours)[0].startswith("'fc.w': permute does not suit")
    assert said({"fc.w": {"from": "w", "chunk": [0, 2], "axis": 2}}, t, ours)[0].startswith(
        "'fc.w': chunk does not suit"
    )


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3, bias=False)
        self.b = nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_of_tied_parameters_one_needs_a_rule_and_two_values_are_refused(device: str) -> None:
    with torch.device(device):
        ours = Tied().state_dict()
    theirs = state(x=(3, 3), y=(3, 3))
    for map in ({"a.weight": "x"}, {"b.weight": "x"}, {"*.weight": "x"}):
        found = mapped(map, theirs, ours)
        assert found["a.weight"] is theirs["x"] and found["b.weight"] is theirs["x"]
    assert said({"a.weight": "x", "b.weight": "y"}, theirs, ours) == [
        "'a.weight' and 'b.weight' are one tensor in the model, but two in the weights "
        "(map one of them, or do not share it)"
    ]


def test_names_that_nothing_reads_are_allowed_and_told() -> None:
    weight = torch.randn(2)
    theirs = {"w": weight, "tied": weight, "mask": torch.ones(1)}
    assert unread({"fc": "w"}, theirs, {"fc": torch.empty(2)}) == ["mask"]


def test_a_wrong_map_in_python_is_refused_like_one_in_a_recipe() -> None:
    with pytest.raises(RecipeError, match="takes no 'transposed'"):
        mapped({"w": {"from": "x", "transposed": True}}, {}, {})
