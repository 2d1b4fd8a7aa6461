"""Where rewrites may go and where not, what `at` means, and what is said of a wrong one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from rewrite_models import applied, error, module_of, sample, step

import assembler as asm
from assembler.errors import AssemblerError, GraphError, RecipeError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.text import from_text
from assembler.infer.shape import shapes
from assembler.recipe.document import parse
from assembler.rewrites.drive import places, rewritten
from assembler.rewrites.fold_batch_norm import FoldBatchNorm
from assembler.rewrites.spec import order
from assembler.wiring.build import build


def net(nodes: dict[str, Node], *shape: int, **more: object) -> Graph:
    """A graph of one input `x` and the last step as its output."""
    return Graph((("x", TensorType(shape or (2, 4, 6, 6))),), nodes, (("y", list(nodes)[-1]),), **more)  # type: ignore[arg-type]


def sites(graph: Graph, written: object) -> tuple[str, ...]:
    """Where a rewrite may go."""
    return order(written).rewrite.sites(graph, shapes(graph))  # type: ignore[arg-type]


STAGES = net(
    {
        f"stage.{n}.{name}": step(op, source, **args)
        for n in (0, 1)
        for name, op, source, args in (
            ("conv", "conv2d", f"stage.{n - 1}.act" if n else "x", {"out": 4, "kernel_size": 1}),
            ("norm", "batch_norm2d", f"stage.{n}.conv", {}),
            ("act", "relu", f"stage.{n}.norm", {}),
        )
    },
    names={"stage.0": "stage.0.act", "stage.1": "stage.1.act", "stage": "stage.1.act"},
)


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ("*", ("stage.0.norm", "stage.1.norm")),
        ("stage.1.norm", ("stage.1.norm",)),
        ("stage.1", ("stage.1.norm",)),
        ("stage", ("stage.0.norm", "stage.1.norm")),
        ("stage.*.norm", ("stage.0.norm", "stage.1.norm")),
        ("stage.*", ("stage.0.norm", "stage.1.norm")),
    ],
)
def test_at_is_a_path_a_container_or_a_pattern(at: str, found: tuple[str, ...]) -> None:
    assert places(FoldBatchNorm(), STAGES, at) == found


def test_a_place_is_not_taken_for_one_whose_name_goes_on() -> None:
    nodes = {
        "s.1.a": step("relu", "x"),
        "s.1.b": step("gelu", "s.1.a"),
        "s.10.a": step("relu", "s.1.b"),
        "s.10.ab": step("relu", "s.10.a"),
    }
    remove = order({"rewrite": "remove_step", "of": "relu"}).rewrite
    graph = net(nodes, names={"s.1": "s.1.b", "s.10": "s.10.ab"})
    assert places(remove, graph, "s.1") == ("s.1.a",)
    assert places(remove, graph, "s.*.a") == ("s.1.a", "s.10.a")


def test_a_container_is_one_place_where_the_rewrite_takes_it_as_a_whole() -> None:
    remove = order({"rewrite": "remove_step"}).rewrite
    assert places(remove, STAGES, "stage.1") == ("stage.1",)
    made, _ = rewritten(STAGES, remove, at="stage.1")
    assert list(made.nodes) == ["stage.0.conv", "stage.0.norm", "stage.0.act"]
    assert made.outputs == (("y", "stage.0.act"),)


@pytest.mark.parametrize(
    ("written", "at", "said"),
    [
        ("fold_batch_norm", "stage.1.act", "fold_batch_norm cannot be applied at 'stage.1.act'"),
        ("fold_batch_norm", "stage.1.norms", "there is no step 'stage.1.norms' in model"),
        ("fuse_branches", "stage.*", "fuse_branches cannot be applied at 'stage.*'"),
    ],
)
def test_a_wrong_place_is_named_with_the_nearest_right_one(written: str, at: str, said: str) -> None:
    with pytest.raises(GraphError) as caught:
        rewritten(STAGES, order(written).rewrite, at=at)
    problem = caught.value.problems[0]
    assert problem.message == said
    hints = {
        "fold_batch_norm": "did you mean 'stage.1.norm'",
        "fuse_branches": "there is no place for it in this model",
    }
    assert problem.hint.startswith(hints[written])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("fold_batchnorm", "unknown rewrite 'fold_batchnorm'"),
        ({"rewrite": "low_rank", "rnk": 3}, "rewrite 'low_rank' has no option 'rnk'"),
        ({"rewrite": "low_rank"}, "low_rank takes one of rank, energy and ratio, and none is given"),
        ({"rewrite": "low_rank", "rank": 0}, "'rank' of low_rank must be at least 1, not 0"),
        ({"rewrite": "low_rank", "energy": 1.5}, "'energy' of low_rank must be above 0 and at most 1, not 1.5"),
        ({"rewrite": "widen", "factor": 1.0}, "'factor' of widen must be above 1, not 1.0"),
        ({"rewrite": "deepen", "kernel_size": 2}, "'kernel_size' of deepen must be an odd number above 0, not 2"),
        ({"rewrite": "swap_op"}, "rewrite 'swap_op' needs 'op'"),
        ({"rewrite": "swap_op", "op": "gelus"}, "unknown op 'gelus'"),
        (
            {"rewrite": "swap_op", "op": "gelu", "args": {"aproximate": "tanh"}},
            "op 'gelu' has no argument 'aproximate'",
        ),
        ({"rewrite": "widen", "at": 3}, "'at' of rewrite 'widen' must be a path, not 3"),
        ({"at": "head"}, "a rewrite needs its name"),
    ],
)
def test_wrong_options_are_said(written: object, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        order(written)  # type: ignore[arg-type]
    assert caught.value.problems[0].message == said


def test_options_are_checked_without_torch() -> None:
    code = """
import sys
from assembler import registry
from assembler.rewrites.spec import order
from assembler.wiring.build import build
for name in registry.names("rewrite"):
    registry.lookup("rewrite", name).load()
order({"rewrite": "low_rank", "rank": 8})
assert not {"torch", "networkx"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


CONV = {"out": 4, "kernel_size": 3, "padding": 1}


def test_a_norm_is_folded_only_where_that_is_exact() -> None:
    padded = net({"n": step("batch_norm2d", "x"), "c": step("conv2d", "n", **CONV)})
    assert sites(padded, "fold_batch_norm") == ()
    circular = net({"n": step("batch_norm2d", "x"), "c": step("conv2d", "n", padding_mode="circular", **CONV)})
    assert sites(circular, "fold_batch_norm") == ("n",)
    module = module_of(circular)
    assert error(module, applied(module, "fold_batch_norm")[1], circular) < 1e-10
    live = net({"c": step("conv2d", "x", **CONV), "n": step("batch_norm2d", "c", track_running_stats=False)})
    assert sites(live, "fold_batch_norm") == ()
    twice = net({"c": step("conv2d", "x", **CONV), "n": step("batch_norm2d", "c"), "s": step("add", "c", "n")})
    assert sites(twice, "fold_batch_norm") == ()
    tokens = net({"f": step("linear", "x", out=5), "n": step("batch_norm1d", "f")}, 2, 3, 4)  # the norm is of axis 1
    assert sites(tokens, "fold_batch_norm") == ()


@pytest.mark.parametrize(
    ("op", "shape", "args"),
    [
        ("conv1d", (2, 4, 9), {"kernel_size": 3, "groups": 2}),
        ("conv3d", (2, 4, 3, 3, 3), {"kernel_size": 2, "bias": False}),
        ("conv_transpose2d", (2, 4, 3, 3), {"kernel_size": 2, "stride": 2, "groups": 2}),
        ("linear", (2, 4), {}),
    ],
)
def test_every_kind_of_layer_takes_a_norm_on_both_sides(
    op: str, shape: tuple[int, ...], args: dict[str, object]
) -> None:
    norm = {3: "batch_norm1d", 4: "batch_norm2d", 5: "batch_norm3d", 2: "batch_norm1d"}[len(shape)]
    graph = net({"c": step(op, "x", out=6, **args), "n": step(norm, "c")}, *shape)
    module = module_of(graph)
    new, made = applied(module, "fold_batch_norm")
    assert list(new.nodes) == ["c"]
    assert error(module, made, graph) < 1e-10
    if op != "conv_transpose2d":
        graph = net({"n": step(norm, "x"), "c": step(op, "n", out=6, **args)}, *shape)
        module = module_of(graph)
        assert error(module, applied(module, "fold_batch_norm")[1], graph) < 1e-10


def test_branches_fuse_only_where_their_outputs_lie_alike() -> None:
    def two(a: dict[str, object], b: dict[str, object], *more: str) -> Graph:
        nodes = {"a": step("conv2d", "x", out=4, **a), "b": step("conv2d", "x", out=4, **b)}
        return net({**nodes, "s": step("add", "a", "b", *more)})

    fits = two({"kernel_size": 3, "padding": 1}, {"kernel_size": 5, "padding": 2}, "x")
    module = module_of(fits)
    new, made = applied(module, "fuse_branches")
    assert new.nodes["s"].arg("kernel_size") == 5 and len(new) == 1
    assert error(module, made, fits) < 1e-10
    thin = {"kernel_size": 1}
    assert (
        sites(
            two({"kernel_size": 3, "padding": 1, "dilation": 2, "padding_mode": "zeros"} | {"padding": 2}, thin),
            "fuse_branches",
        )
        == ()
    )
    assert sites(two({"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, thin), "fuse_branches") == ()
    assert sites(two({"kernel_size": 3, "padding": 1, "groups": 2}, thin), "fuse_branches") == ()
    strided = {"kernel_size": 3, "padding": 1, "stride": 2}
    assert sites(two(strided, {"kernel_size": 2, "stride": 2}), "fuse_branches") == ()  # as large, half a step aside
    alike = two(strided, {"kernel_size": 1, "stride": 2})
    module = module_of(alike)
    assert error(module, applied(module, "fuse_branches")[1], alike) < 1e-10
    tall = two({"kernel_size": (3, 1), "padding": (1, 0)}, {"kernel_size": (1, 5), "padding": (0, 2)}, "x")
    module = module_of(tall)
    new, made = applied(module, "fuse_branches")
    assert new.nodes["s"].arg("kernel_size") == (3, 5)
    assert error(module, made, tall) < 1e-10


def test_steps_that_share_weights_are_left_alone() -> None:
    text = """graph "m" (%x: float32[2, 4]) {
  %a = linear(input=%x) {out = 4}
  %n = batch_norm1d(input=%a)
  %r = relu(input=%n)
  %b = linear(input=%r) {out = 4} share(%a)
  %c = linear(input=%b) {out = 4}
  %d = linear(input=%c) {out = 4} share(weight=%c.weight)
  return y = %d
}"""
    graph = from_text(text)
    for written in ("fold_batch_norm", "widen", {"rewrite": "low_rank", "rank": 1}, "share_steps"):
        assert sites(graph, written) == ()
    module = module_of(graph)
    new, made = applied(module, "deepen")
    assert new.nodes["b"].share == (("", "a"),)
    assert error(module, made, graph) < 1e-10


def test_equal_steps_merge_only_without_weights_of_their_own_and_without_chance() -> None:
    nodes = {
        "a": step("linear", "x", out=4),
        "b": step("linear", "x", out=4),
        "d1": step("dropout", "x"),
        "d2": step("dropout", "x"),
        "g1": step("add", "a", "b"),
        "g2": step("add", "b", "a"),
        "s": step("add", "d1", "d2", "g1", "g2"),
    }
    assert sites(net(nodes, 2, 4), "merge_common") == ("g2",)
    shared = net({**nodes, "b": Node("linear", (("out", 4),), (("input", "x"),), share=(("", "a"),))}, 2, 4)
    assert sites(shared, "merge_common") == ("b", "g2")
    module = module_of(shared)
    new, made = applied(module, "merge_common")
    assert "b" not in new.nodes and new.nodes["g1"].sources == ("a", "a")
    assert error(module, made, shared) < 1e-10


def test_what_training_notices_stays_unless_asked() -> None:
    nodes = {
        "mlp": step("mlp", "x", port="x", dropout=0.25),
        "drop": step("dropout", "mlp", p=0.5),
        "still": step("dropout", "drop", p=0.0),
    }
    graph = net(nodes, 2, 4)
    assert sites(graph, "drop_identities") == ("still",)
    assert sites(graph, {"rewrite": "drop_identities", "mode": "eval"}) == ("drop", "still")
    inner = asm.rewrite(graph, "expand")
    assert [node.arg("p") for _, node in inner if node.op == "dropout"] == [0.25, 0.25, 0.5, 0.0]


def test_frozen_modes_and_bodies_go_along() -> None:
    text = """graph "m" (%x: float32[2, 4], %label: float32[2, 3] train) {
  %fc = linear(input=%x) {out = 4} frozen
  %norm = batch_norm1d(input=%fc) frozen
  %act = relu(input=%norm)
  %drop = dropout(input=%act)
  %mode = switch(train=%drop, eval=%act)
  %head = linear(input=%mode) {out = 3}
  %aux = add(%head, %label)
  return y = %head, aux = %aux train
}"""
    graph = from_text(text)
    module = module_of(graph)
    made = applied(applied(module, "fold_batch_norm")[1], "widen")[1]
    new = made.meta["graph"]
    low = asm.rewrite(new, {"rewrite": "low_rank", "rank": 2}, at="fc")
    assert low.nodes["fc.reduce"].frozen and low.nodes["fc.expand"].frozen
    assert new.nodes["fc"].frozen and new.only == graph.only
    assert new.nodes["fc"].arg("out") == 8
    x = sample(graph)[0]
    assert (made(x)["y"] - module(x)["y"]).abs().max() < 1e-10


def test_a_loop_and_what_its_body_reads_go_along() -> None:
    text = """graph "m" (%x: float32[2, 4]) {
  %pre = linear(input=%x) {out = 4}
  %act = relu(input=%pre)
  %loop = loop(h=%act, pre=%pre) {carry = ["h"], times = 3} graph "loop" (%h: float32[], %pre: float32[]) {
    %cell = linear(input=%h) {out = 4}
    %sum = add(%cell, %pre)
    return h = %sum
  }
  %head = linear(input=%loop) {out = 3}
  return y = %head
}"""
    graph = from_text(text)
    assert sites(graph, "widen") == ()
    module = made = module_of(graph)
    for written in ({"rewrite": "wrap_residual", "at": "act"}, {"rewrite": "low_rank", "energy": 1.0, "at": "head"}):
        made = applied(made, written)[1]
    assert made.meta["graph"].nodes["loop"].body == graph.nodes["loop"].body
    assert error(module, made, graph) < 1e-10


def test_asm_rewrite_gives_the_same_kind_of_thing() -> None:
    module = asm.build(STAGES).train()
    module.get_parameter("stage.0.conv.weight").requires_grad_(False)
    made = asm.rewrite(module, "fold_batch_norm", at="stage.0")
    assert "stage.0.norm" not in made.meta["graph"].nodes and "stage.1.norm" in made.meta["graph"].nodes
    assert made.training and not asm.rewrite(module.eval(), "fold_batch_norm").training
    assert not made.get_parameter("stage.0.conv.weight").requires_grad
    assert made.get_parameter("stage.1.conv.weight").requires_grad
    shared = {p.data_ptr() for p in module.parameters()} & {p.data_ptr() for p in made.parameters()}
    assert not shared
    graph = asm.rewrite(STAGES, FoldBatchNorm())
    assert isinstance(graph, Graph) and len(graph) == 4
    with pytest.raises(AssemblerError, match="a Linear that was not built here has no graph to rewrite"):
        asm.rewrite(torch.nn.Linear(2, 2), "widen")


def test_names_of_containers_follow() -> None:
    made = asm.rewrite(STAGES, {"rewrite": "wrap_residual"}, at="stage.0")
    assert made.names["stage.0"] == "stage.0.act"
    assert made.nodes["stage.1.conv"].sources == ("stage.0_sum",)
    low = asm.rewrite(STAGES, {"rewrite": "low_rank", "rank": 2}, at="stage.0.conv")
    assert low.names["stage.0.conv"] == "stage.0.conv.expand"


def test_a_pruned_weighted_sum_keeps_the_other_weights() -> None:
    nodes = {"a": step("relu", "x"), "b": step("gelu", "x"), "s": step("weighted_sum", "a", "b", "x")}
    graph = net(nodes)
    module = module_of(graph)
    new, made = applied(module, "prune_path", "a")
    assert list(new.nodes) == ["b", "s"]
    old = module.get_parameter("s.weight")
    assert made.get_parameter("s.weight").tolist() == old[1:].tolist()


def test_a_result_that_does_not_fit_is_refused() -> None:
    class Narrow(FoldBatchNorm):
        """Changes the type of the output."""

        def sites(self, graph: Graph, types: object) -> tuple[str, ...]:
            return ("stage.1.conv",)

        def edit(self, graph: Graph, types: object, at: str, state: object) -> Graph:
            return graph.replace(at, out=3)

    with pytest.raises(RecipeError) as caught:
        rewritten(STAGES, Narrow())
    said = "narrow at 'stage.1.conv' makes output 'y' float32[2, 3, 6, 6], it was float32[2, 4, 6, 6]"
    assert caught.value.problems[0].message == said


def test_a_block_that_is_one_step_is_to_be_laid_out_first() -> None:
    block = {"a": step("conv_bn_act", "x", port="x", out=8), "b": step("relu", "a")}
    whole = net(block)
    with pytest.raises(GraphError) as caught:
        rewritten(whole, FoldBatchNorm(), at="a")
    assert str(caught.value) == (
        "a: error: fold_batch_norm cannot be applied at 'a'\n"
        "    hint: 'a' is conv_bn_act, one step; `expand` lays it out as steps, do that first"
    )
    with pytest.raises(GraphError, match="there is no place for it in this model"):
        rewritten(whole, FoldBatchNorm(), at="b")


@pytest.mark.parametrize(
    ("written", "at", "why"),
    [
        ("wrap_residual", "a", "'a' shares its weights with 'b'"),
        ("widen", "b", "'b' shares its weights with 'a'"),
        ("widen", "wide", "its channels cannot be followed past 'deep' (conv2d of 8 groups)"),
        ("widen", "head", "its channels are those of an output of the model"),
    ],
)
def test_a_step_that_is_no_site_says_why(written: str, at: str, why: str) -> None:
    text = """
kind: model
inputs: {x: [B, 8, 4, 4]}
graph:
  a: {op: conv2d, out: 8, kernel_size: 1}
  b: {op: conv2d, out: 8, kernel_size: 1, share: a}
  wide: {op: conv2d, out: 8, kernel_size: 1}
  deep: {op: conv2d, out: 8, kernel_size: 3, groups: 8}
  head: {op: conv2d, out: 8, kernel_size: 1}
"""
    with pytest.raises(GraphError) as caught:
        rewritten(build(parse(text, "m.yaml").model), order(written).rewrite, at=at)
    assert caught.value.problems[0].message == f"{written} cannot be applied at '{at}': {why}"
