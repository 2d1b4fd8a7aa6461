"""What the general tensor ops make of small numbers, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import assembler as asm
from assembler.errors import AssemblerError
from assembler.infer.make import make
from assembler.registry import lookup

ROW = torch.arange(6.0).reshape(1, 6)
GRID = torch.arange(12.0).reshape(1, 3, 4)


def call(name, *xs, **args):
    return make(lookup("op", name), args, [tuple(x.shape) for x in xs])(*xs)


def named(name, *xs, **args):
    """A function op with its inputs by name, as steps call it."""
    entry = lookup("op", name)
    return make(entry, args, [tuple(x.shape) for x in xs])(**dict(zip(entry.inputs, xs, strict=False)))


@pytest.mark.parametrize(
    ("op", "args", "wanted"),
    [
        ("slice", {"start": 1, "stop": 5, "step": 2}, [1.0, 3.0]),
        ("slice", {"start": -2, "dim": -1}, [4.0, 5.0]),
        ("select", {"index": -1}, 5.0),
        ("roll", {"shifts": (2,), "dims": (1,)}, [4.0, 5.0, 0.0, 1.0, 2.0, 3.0]),
        ("flip", {"dims": (1,)}, [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]),
        ("pad", {"padding": (1, -4), "value": 9.0}, [9.0, 0.0, 1.0]),
        ("tile", {"repeats": (2,)}, [*range(6), *range(6)]),
        ("repeat_interleave", {"repeats": 2}, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
        ("scale", {"factor": 2.0, "offset": 1.0}, [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]),
        ("power", {"exponent": 2.0}, [0.0, 1.0, 4.0, 9.0, 16.0, 25.0]),
        ("clamp", {"low": 1.0, "high": 3.0}, [1.0, 1.0, 2.0, 3.0, 3.0, 3.0]),
        ("cumsum", {}, [0.0, 1.0, 3.0, 6.0, 10.0, 15.0]),
        ("argmax", {}, 5),
        ("argsort", {"descending": True}, [5, 4, 3, 2, 1, 0]),
        ("compare", {"relation": "ge", "than": 4.0}, [False] * 4 + [True] * 2),
        ("mean", {}, 2.5),
        ("sum", {"keepdim": True}, [15.0]),
        ("max", {}, 5.0),
        ("min", {}, 0.0),
        ("var", {"correction": 0}, 35 / 12),
        ("positions", {"start": 3}, [3, 4, 5, 6, 7, 8]),
        ("constant", {"values": (7.0,), "shape": (2, 2)}, [[7.0, 7.0], [7.0, 7.0]]),
        ("constant", {"values": (1, 0), "dtype": "bool"}, [True, False]),
    ],
)
def test_of_a_row(op, args, wanted):
    torch.testing.assert_close(named(op, ROW, **args)[0], torch.tensor(wanted).to(named(op, ROW, **args).dtype))


def test_reductions_over_all_axes_give_a_scalar():
    wanted = {"mean": 5.5, "sum": 66.0, "max": 11.0, "min": 0.0}
    assert {name: named(name, GRID, dim=None).item() for name in wanted} == wanted
    assert named("mean", GRID, dim=(0, 1)).tolist() == [4.0, 5.0, 6.0, 7.0]


def test_parts_are_in_order():
    assert [p.tolist() for p in named("chunk", ROW, chunks=3)] == [[[0.0, 1.0]], [[2.0, 3.0]], [[4.0, 5.0]]]
    assert [p.tolist() for p in named("split", ROW, sizes=(1, 5))] == [[[0.0]], [[1.0, 2.0, 3.0, 4.0, 5.0]]]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 2))
def test_what_was_split_is_joined_by_concat(sizes, dim):
    x = torch.randn(2, *([sum(sizes), 3] if dim == 1 else [3, sum(sizes)]))
    parts = named("split", x, sizes=tuple(sizes), dim=dim)
    assert [p.shape[dim] for p in parts] == sizes
    assert torch.equal(call("concat", *parts, dim=dim), x)


def test_rows_are_taken_from_each_sample():
    x = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(named("take", x, torch.tensor([[2, 0], [1, 1]])), x[[[0], [1]], [[2, 0], [1, 1]]])
    assert torch.equal(named("take", x, torch.tensor([2, 0])), x[[0, 1], [2, 0]])


def test_topk_tells_where():
    values, indices = named("topk", torch.tensor([[1.0, 9.0, 3.0]]), k=2)
    assert values.tolist() == [[9.0, 3.0]]
    assert indices.tolist() == [[1, 2]]


def test_expand_adds_axes_before():
    assert named("expand", torch.zeros(2, 1, 3), shape=(5, -1)).shape == (2, 5, 3)
    assert named("expand", torch.zeros(2, 3), shape=(4, 5, 3)).shape == (2, 4, 5, 3)


def test_a_parameter_is_the_same_for_every_sample():
    op = make(lookup("op", "parameter"), {"shape": (2, 3), "init": "normal", "std": 0.5}, [(4, 7)])
    made = op(torch.zeros(4, 7))
    assert made.shape == (4, 2, 3)
    assert torch.equal(made[0], made[3])
    zeros = make(lookup("op", "parameter"), {"shape": (2, 3), "init": "zeros", "batched": False}, [(4, 7)])
    assert torch.equal(zeros(torch.zeros(4, 7)), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("op", "args", "message"),
    [
        ("chunk", {"chunks": 4}, "an axis of 6 elements does not split into 4 equal parts"),
        ("split", {"sizes": (1, 2)}, r"an axis of 6 elements does not split into parts of \[1, 2\]"),
        ("squeeze", {}, r"axis -1 of \[1, 6\] has 6 elements, and only an axis of 1 can go"),
        ("expand", {"shape": ()}, r"shape \[\] has fewer axes than samples of \[6\]"),
        ("constant", {"values": (1.0, 2.0), "shape": (3,)}, r"2 values do not fill the shape \[3\]"),
        ("positions", {"dim": 2}, r"there is no axis 2 in \[1, 6\]"),
    ],
)
def test_refusals(op, args, message):
    with pytest.raises((ValueError, AssemblerError), match=message):
        named(op, ROW, **args)


def test_refusals_of_two_inputs():
    with pytest.raises(ValueError, match=r"equally many axes, got \[2, 3\] and \[2, 3, 1\]"):
        named("div", torch.zeros(2, 3), torch.zeros(2, 3, 1))
    with pytest.raises(ValueError, match=r"stacked inputs need one shape, got \[2, 3\] and \[2, 4\]"):
        call("stack", torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"the index of rows is \[B\] or \[B, K\], got \[2, 1, 1\]"):
        named("take", torch.zeros(2, 3, 4), torch.zeros(2, 1, 1, dtype=torch.int64))


RECIPE = """
kind: model
name: routed
inputs: {x: [B, 6]}
graph:
  top: {op: topk, k: 2}
  found: {op: one_hot, classes: 6, from: top.indices}
  parts: {op: chunk, chunks: 2, from: x}
  swapped: {op: concat, from: [parts.1, parts.0]}
  book: {op: parameter, shape: [6, 4], batched: false, from: x}
  vectors: {op: matmul, from: [swapped, book]}
outputs: {values: top, found: found, vectors: vectors}
"""


def test_steps_read_the_parts_by_name(tmp_path):
    (tmp_path / "routed.yaml").write_text(RECIPE)
    model = asm.build(tmp_path / "routed.yaml")
    x = torch.randn(3, 6)
    made = model(x)
    assert torch.equal(made["values"], x.topk(2).values)
    assert torch.equal(made["found"].argmax(2), x.topk(2).indices)
    swapped = torch.cat([x[:, 3:], x[:, :3]], 1)
    torch.testing.assert_close(made["vectors"], swapped @ model.state_dict()["book.weight"])
