"""The contract of every rewrite that is shipped, and of one that a plug-in brings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from assembler import registry
from assembler.graph.core import Graph
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.drive import rewritten
from assembler.rewrites.spec import Order
from assembler.testing import RewriteContract

HEAD = 'graph "m" (%x: float32[2, 4, 6, 6]) {\n'
NET = (
    HEAD
    + """\
  %stem = conv2d(input=%x) {kernel_size = 3, out = 4, padding = 1}
  %norm = batch_norm2d(input=%stem)
  %act = relu(input=%norm)
  %rep.wide = conv2d(input=%act) {bias = false, kernel_size = 3, out = 4, padding = 1}
  %rep.wide_norm = batch_norm2d(input=%rep.wide)
  %rep.thin = conv2d(input=%act) {kernel_size = 1, out = 4}
  %rep.thin_norm = batch_norm2d(input=%rep.thin)
  %rep.skip = batch_norm2d(input=%act)
  %rep = add(%rep.wide_norm, %rep.thin_norm, %rep.skip)
  %act2 = relu(input=%rep)
  %drop = dropout(input=%act2) {p = 0.0}
  %twin1 = gelu(input=%drop)
  %twin2 = gelu(input=%drop)
  %sum = add(%twin1, %twin2)
  %pool = adaptive_avg_pool2d(input=%sum) {output_size = 2}
  %flat = flatten(input=%pool)
  %fc1 = linear(input=%flat) {out = 16}
  %act3 = relu(input=%fc1)
  %fc2 = linear(input=%act3) {out = 16}
  %act4 = relu(input=%fc2)
  %head = linear(input=%act4) {out = 3}
  return y = %head
}
"""
)


class Contract(RewriteContract):
    graph = NET


class TestFoldBatchNorm(Contract):
    name = "fold_batch_norm"


class TestFuseBranches(Contract):
    name = "fuse_branches"


class TestDropIdentities(Contract):
    name = "drop_identities"


class TestMergeCommon(Contract):
    name = "merge_common"


class TestLowRank(Contract):
    name = "low_rank"
    options: ClassVar = {"rank": 2}


class TestLowRankByEnergy(Contract):
    name = "low_rank"
    options: ClassVar = {"energy": 0.8}
    at = "fc*"


class TestLowRankBySize(Contract):
    name = "low_rank"
    options: ClassVar = {"ratio": 0.5}


class TestExpand(RewriteContract):
    name = "expand"
    graph = (
        HEAD
        + """\
  %block = conv_bn_act(x=%x) {kernel_size = 3, out = 6, stride = 2}
  %thin = conv_bn_act(x=%block) {activation = null, groups = 2, kernel_size = 1}
  %sep = separable_conv(x=%thin) {out = 8}
  %mix = conv_mlp(x=%sep) {dropout = 0.1, ratio = 2.0}
  %flat = flatten(input=%mix)
  %head = mlp(x=%flat) {activation = "tanh", out = 3, ratio = 0.5}
  return y = %head
}
"""
    )


class TestWiden(Contract):
    name = "widen"


class TestSplitExperts(Contract):
    name = "split_experts"
    options: ClassVar = {"count": 4}


class TestSplitExpertsToAFew(Contract):
    name = "split_experts"
    options: ClassVar = {"count": 8, "k": 2, "groups": "random", "gate": "random"}


class TestMergeExperts(RewriteContract):
    name = "merge_experts"
    graph = (
        HEAD
        + """\
  %flat = flatten(input=%x)
  %r = linear(input=%flat) {bias = false, out = 2}
  %f = experts(x=%flat, logits=%r) {count = 2, weighted = false} graph "f" (%x: float32[], %logits: float32[]) {
    %up = linear(input=%x) {out = 6}
    %act = relu(input=%up)
    %down = linear(input=%act) {bias = false, out = 5}
    return output = %down
  }
  %other = experts(x=%f) {count = 2, keys = "up"} graph "other" (%x: float32[]) {
    %up = linear(input=%x) {out = 6}
    %act = relu(input=%up)
    %down = linear(input=%act) {bias = false, out = 3}
    return output = %down
  }
  return y = %other
}
"""
    )


class TestAdapt(Contract):
    name = "adapt"
    options: ClassVar = {"args": {"rank": 2}}


class TestAdaptByKroneckerProducts(Contract):
    name = "adapt"
    options: ClassVar = {"op": "kronecker_linear", "args": {"factor": [2, 4]}}
    at = "fc*"


ADAPTED = """\
graph "m" (%x: float32[2, 3, 4]) {
  %q.base = linear(input=%x) {out = 6}
  %q.adapter = low_rank_linear(x=%x) {out = 6, rank = 2, scale = 0.5}
  %q.sum = add(%q.base, %q.adapter)
  %act = relu(input=%q.sum)
  %base = linear(input=%act) {bias = false, out = 6}
  %other = kronecker_linear(x=%act) {factor = [2, 3], scale = 2.0}
  %plain = linear(input=%act) {bias = false, out = 6}
  %y = add(%base, %other, %plain)
  return y = %y
}
"""


class TestMergeAdapters(RewriteContract):
    name = "merge_adapters"
    graph = ADAPTED


class TestUnblend(RewriteContract):
    name = "unblend"
    graph = (
        HEAD
        + """\
  %by = literal(x=%x) {shape = [2], values = [1.0, 0.5]}
  %more = literal(x=%x) {shape = [2], values = [0.25, 2.0]}
  %one = blend(x=%x, by=%by) graph "one" (%x: float32[], %by: float32[]) {
    %conv = conv2d(input=%x) {kernel_size = 1, out = 4}
    %norm = batch_norm2d(input=%conv)
    return output = %norm
  }
  %two = blend(x=%one, by=%more) share(%one) graph "two" (%x: float32[], %by: float32[]) {
    %conv = conv2d(input=%x) {kernel_size = 1, out = 4}
    %norm = batch_norm2d(input=%conv)
    return output = %norm
  }
  return y = %two
}
"""
    )


TOKENS = """\
graph "m" (%x: float32[2, 4, 6]) {
  %norm = layer_norm(input=%x)
  %rep = token_batch_norm(x=%x) {skip = true}
  %mixed = fade(old=%norm, new=%rep) {steps = 0}
  %up = linear(input=%mixed) {bias = false, out = 8}
  %plain = token_batch_norm(x=%up)
  %act = relu(input=%plain)
  %last = token_batch_norm(x=%act) {eps = 0.001, skip = true}
  return y = %last
}
"""


class TestEndFades(RewriteContract):
    name = "end_fades"
    graph = TOKENS


class TestFoldNormSkip(RewriteContract):
    name = "fold_norm_skip"
    graph = TOKENS


class TestFoldTokenNorm(RewriteContract):
    name = "fold_batch_norm"
    graph = TOKENS.replace("input=%mixed", "input=%rep")


class TestDeepen(Contract):
    name = "deepen"


class TestPrunePath(Contract):
    name = "prune_path"


class TestSwapOp(Contract):
    name = "swap_op"
    options: ClassVar = {"op": "gelu", "of": "relu", "args": {"approximate": "tanh"}}


class TestInsertStep(Contract):
    name = "insert_step"
    options: ClassVar = {"op": "conv2d", "of": "relu", "args": {"out": 4, "kernel_size": 1}}


class TestRemoveStep(Contract):
    name = "remove_step"
    options: ClassVar = {"of": "relu"}


class TestWrapResidual(Contract):
    name = "wrap_residual"


class TestWrapResidualPlainly(Contract):
    name = "wrap_residual"
    options: ClassVar = {"init": None}
    at = "rep"


class TestShareSteps(Contract):
    name = "share_steps"


@registry.rewrite("halve_dropout")
@dataclass(frozen=True)
class HalveDropout(Rewrite):
    """Halve the probability of every dropout."""

    keeps: ClassVar[bool] = True

    by: float = 2.0

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """Every dropout of more than nothing."""
        return tuple(i for i, node in graph if node.op == "dropout" and node.arg("p", 0.5) > 0)

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with less dropout."""
        return graph.replace(at, p=graph.nodes[at].arg("p", 0.5) / self.by)


class TestOneOfOurOwn(RewriteContract):
    name = "halve_dropout"
    graph = HEAD + "  %a = conv2d(input=%x) {kernel_size = 1, out = 3}\n  %d = dropout(input=%a)\n  return y = %d\n}"


def test_every_rewrite_has_a_contract() -> None:
    tested = {c.name for c in RewriteContract.__subclasses__() + Contract.__subclasses__() if hasattr(c, "name")}
    assert set(registry.names("rewrite")) <= tested


@pytest.mark.parametrize("name", registry.names("rewrite"))
def test_what_the_registry_says_of_a_rewrite_is_what_its_class_says(name: str) -> None:
    entry = registry.lookup("rewrite", name)
    assert entry.option("keeps") is entry.load().keeps
    assert entry.doc and entry.name == entry.load().name.fget(entry.load().__new__(entry.load()))


class TestShorten(RewriteContract):
    graph = """\
graph "m" (%x: float32[2, 4]) {
  %layer.0.fc = linear(input=%x) {out = 4}
  %layer.0.act = relu(input=%layer.0.fc)
  %layer.1.fc = linear(input=%layer.0.act) {out = 4}
  %layer.1.act = relu(input=%layer.1.fc)
  %layer.2.fc = linear(input=%layer.1.act) {out = 4}
  %layer.2.act = relu(input=%layer.2.fc)
  %head = linear(input=%layer.2.act) {out = 3}
  return y = %head
}
"""
    name = "shorten"


class TestNarrow(Contract):
    name = "narrow"


class TestResample(RewriteContract):
    """It changes no step, so of the contract what is about the graph stays out; `test_resample.py` has the weights."""

    name = "resample"
    options: ClassVar = {"by": "fresh"}
    graph = NET
    at = "fc1"

    def order(self) -> Order:
        found = super().order()
        values = {"act3": torch.rand(8, 16) - 0.5}
        return replace(found, rewrite=found.rewrite.informed(lambda path, axis=-1: values[path]))

    def test_gives_a_sound_graph_and_leaves_the_given_one(self) -> None:
        made, _ = rewritten(self.before(), self.order().rewrite, self.module().state_dict(), self.at)
        assert made == self.before()
