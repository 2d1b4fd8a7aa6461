from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from infer_graphs import chain, graph, node
from torch import Tensor

from assembler.errors import GraphError, ShapeError
from assembler.graph.core import Graph, TensorType
from assembler.infer.shape import shapes
from assembler.registry import op

RUNS: list[str] = []


@op("infer_test_counted")
def counted(x: Tensor, tag: str = "") -> Tensor:
    RUNS.append(tag)
    return x * 2


@op("infer_test_times")
def times(x: Tensor, by: int | float = 1) -> Tensor:
    return x * by


@op("infer_test_pair")
def pair(x: Tensor) -> tuple[Tensor, Tensor]:
    return x, x


@op("infer_test_boom")
def boom(x: Tensor) -> Tensor:
    raise KeyError("lost")


def messages(g: Graph) -> list[str]:
    with pytest.raises(ShapeError) as caught:
        shapes(g)
    return [p.message for p in caught.value.problems]


def test_every_input_and_step_has_a_type() -> None:
    g = graph({"a": node("conv2d", "x", out=8, kernel_size=3), "b": node("flatten", "a")}, x=(2, 3, 6, 6))
    assert shapes(g) == {"x": TensorType((2, 3, 6, 6)), "a": TensorType((2, 8, 4, 4)), "b": TensorType((2, 128))}


@pytest.mark.parametrize("batch", [0, None])
def test_an_open_batch_is_two(batch: int) -> None:
    assert shapes(graph({"a": node("relu", "x")}, x=(batch, 3)))["a"] == TensorType((2, 3))


def test_the_batch_that_stands_there_is_used_and_dtypes_follow() -> None:
    g = graph({"a": node("embedding", "x", num_embeddings=9, out=4)}, x=TensorType((5, 3), "int64"))
    assert shapes(g)["a"] == TensorType((5, 3, 4))


def test_a_concat_that_does_not_fit_names_its_inputs() -> None:
    nodes = {"stage.1.cat": node("concat", "gap", "tap")}
    assert messages(graph(nodes, gap=(2, 128, 28, 28), tap=(2, 512, 7, 7)))[0].startswith(
        "stage.1.cat (concat) does not accept gap [2, 128, 28, 28] and tap [2, 512, 7, 7]: "
    )


@pytest.mark.parametrize(
    ("step", "shape", "message"),
    [
        (
            node("conv2d", "x", out=8, kernel_size=9),
            (2, 3, 4, 4),
            "a (conv2d) does not accept x [2, 3, 4, 4] with kernel_size=9, out=8: kernel size can't be greater than "
            "actual input size",
        ),
        (
            node("max_pool2d", "x", kernel_size=9),
            (2, 3, 4, 4),
            "a (max_pool2d) does not accept x [2, 3, 4, 4] with kernel_size=9: output size is too small",
        ),
        (
            node("group_norm", "x", num_groups=3),
            (2, 64, 4, 4),
            "a (group_norm) does not accept x [2, 64, 4, 4] with num_groups=3: num_channels (64) must be divisible by "
            "num_groups (3)",
        ),
        (node("linear", "x", outt=8), (2, 3), "a (linear): linear has no argument 'outt'"),
        (
            node("batch_norm2d", "x"),
            (2, 3),
            "a (batch_norm2d) does not accept x [2, 3]: expected 4D input (got 2D input)",
        ),
        (
            node("linear", "x", out=10**12),
            (2, 10**12),
            "a (linear) does not accept x [2, 1000000000000] with out=1000000000000: storage size calculation "
            "overflowed with sizes=[1000000000000, 1000000000000]",
        ),
        (
            node("infer_test_pair", "x", port="x"),
            (2, 3),
            "a (infer_test_pair): makes a tuple, and a step has to make one tensor",
        ),
        (
            node("infer_test_boom", "x", port="x"),
            (2, 3),
            "a (infer_test_boom) does not accept x [2, 3]: KeyError: 'lost'",
        ),
        (node("linear", "x", out=0), (2, 3), "a (linear): its 'weight' would be empty, [0, 3]"),
        (
            node("aten.cov", "x", port="self"),
            (2, 3),
            "a (aten.cov): torch cannot tell the shape of what it makes without its values",
        ),
    ],
)
def test_refusals_are_plain_and_name_step_op_and_shapes(step: object, shape: tuple[int, ...], message: str) -> None:
    assert messages(graph({"a": step}, x=shape)) == [message]  # type: ignore[dict-item]


def test_the_problem_points_at_the_recipe_line() -> None:
    with pytest.raises(ShapeError, match=r"m\.yaml:7:3: error: a \(batch_norm2d\)"):
        shapes(graph({"a": node("batch_norm2d", "x")}, x=(2, 3)))


def test_a_step_that_shares_weights_of_another_width_is_refused() -> None:
    wide, tied = node("linear", "x", out=4), replace(node("linear", "a", out=4), share=(("", "a"),))
    said = "'b' cannot use the weights of 'a': it needs weight [4, 4], bias [4], and they are weight [4, 3], bias [4]"
    assert messages(graph({"a": wide, "b": tied}, x=(2, 3))) == [said]
    assert shapes(graph({"a": wide, "b": replace(tied, inputs=(("input", "x"),))}, x=(2, 3)))["b"].shape == (2, 4)


def test_independent_errors_come_together_and_what_follows_them_is_not_blamed() -> None:
    nodes = {
        "a": node("batch_norm2d", "x"),
        "after": node("relu", "a"),
        "later": node("relu", "after"),
        "fine": node("relu", "x"),
        "b": node("max_pool2d", "fine", kernel_size=9),
        "both": node("add", "later", "b"),
    }
    assert [m.split(" ")[0] for m in messages(graph(nodes, x=(2, 3)))] == ["a", "b"]


def test_a_step_that_reads_nothing_known_is_a_graph_error() -> None:
    with pytest.raises(GraphError, match=r"a \(relu\) reads 'b', which is a later step"):
        shapes(graph({"a": node("relu", "b"), "b": node("relu", "x")}, x=(2, 3)))


def test_an_empty_axis_and_an_unknown_dtype_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"input 'x' has shape \[2, 0\]: every axis after the batch"):
        shapes(graph({"a": node("relu", "x")}, x=(2, 0)))
    with pytest.raises(ShapeError, match="there is no dtype 'flot32'"):
        shapes(graph({"a": node("relu", "x")}, x=TensorType((2, 3), "flot32")))


def test_a_step_runs_once_for_equal_op_arguments_and_input_types() -> None:
    RUNS.clear()
    nodes = {f"s{i}": node("infer_test_counted", f"s{i - 1}" if i else "x", port="x", tag="once") for i in range(5)}
    shapes(graph(nodes, x=(2, 3)))
    shapes(graph(dict(nodes), x=(2, 3)))
    assert RUNS == ["once"]
    shapes(graph(nodes, x=(2, 4)))
    assert RUNS == ["once"] * 2


def test_an_integer_and_the_float_that_equals_it_are_two_arguments() -> None:
    counts = TensorType((2, 3), "int64")
    assert shapes(graph({"a": node("infer_test_times", "x", port="x", by=2)}, x=counts))["a"].dtype == "int64"
    assert shapes(graph({"a": node("infer_test_times", "x", port="x", by=2.0)}, x=counts))["a"].dtype == "float32"


def test_a_hundred_known_steps_take_a_fraction_of_a_millisecond() -> None:
    g = chain(100)
    shapes(g)
    best = min(_timed(g) for _ in range(50))
    assert best < 0.001, f"{best * 1e3:.2f} ms"  # 0.1 ms on an idle core


def _timed(g: Graph) -> float:
    start = time.perf_counter()
    shapes(g)
    return time.perf_counter() - start


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 4), st.integers(1, 6), st.integers(3, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2))
def test_shapes_are_those_of_the_real_run(b: int, c: int, size: int, out: int, kernel: int, padding: int) -> None:
    nodes = {
        "conv": node("conv2d", "x", out=out, kernel_size=kernel, padding=padding, stride=2),
        "norm": node("group_norm", "conv", num_groups=1),
        "flat": node("flatten", "norm"),
        "head": node("linear", "flat", out=3),
    }
    types = shapes(graph(nodes, x=(b, c, size, size)))
    real = torch.nn.Conv2d(c, out, kernel, 2, padding)(torch.zeros(b, c, size, size))
    assert types["conv"].shape == types["norm"].shape == tuple(real.shape)
    assert types["flat"].shape == (b, real[0].numel()) and types["head"].shape == (b, 3)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "inputs: {x: [B, 8]}\ngraph: {r: {op: residual, body: {fc: {op: linear, out: 16}}}}",
            "a body that changes the shape needs a shortcut: that changes what enters alike, for instance {proj: ...}",
        ),
        (
            "inputs: {tokens: [B, 8]}\ngraph: {e: {op: embedding, num_embeddings: 10, out: 4}}",
            "'tokens' has to be whole numbers: {shape: [...], dtype: int64} where it is an input, {op: cast, dtype: "
            "int64} elsewhere",
        ),
        (
            "inputs: {x: [B, 6, 8], y: {shape: [B, 6], dtype: int64}}\n"
            "graph: {c: {op: linear, out: 5, from: x}, l: {op: cross_entropy, from: {value: c, target: y}}}",
            "write axis: -1, the axis of the classes",
        ),
        ("inputs: {x: [B, 8]}\ngraph: {a: {op: linear, out: 4}, s: {op: add, from: [x, a]}}", ""),
    ],
)
def test_what_is_usually_meant_is_hinted_at(text: str, hint: str) -> None:
    from assembler.recipe.document import parse
    from assembler.wiring.build import build

    with pytest.raises(ShapeError) as caught:
        shapes(build(parse(text).model))
    assert caught.value.problems[0].hint == hint
