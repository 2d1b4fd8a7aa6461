"""A dense feed-forward block to a mixture of experts: clusters of its hidden channels (EMoE, Qiu et al. 2024)."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from assembler.errors import RecipeError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.edit import step
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.ops import DROPOUTS, ELEMENTWISE, has_bias
from assembler.rewrites.view import View, argument, free_id, rewired

if TYPE_CHECKING:
    from torch import Tensor

ACTIVATIONS = {*ELEMENTWISE} - {*DROPOUTS} | {"dropout"}
"""What may stand between the two layers: it looks at every number by itself."""


@rewrite("split_experts")
@dataclass(frozen=True)
class SplitExperts(Rewrite):
    """Make `count` experts of two linear layers with an activation between, no weight changed and none added.

    Each expert gets a cluster of the hidden channels, equally many: balanced k-means of the directions of the first
    layer's rows, or `groups: random`. A token goes to `k` experts, all by default, which computes the same. The gate
    is the token's product with the mean of an expert's rows (avg-k; EMoE, Qiu et al. 2024, arXiv:2310.10908), or, as a
    control, `gate: random`, a linear layer that nothing trains. `merge_experts` is the way back.
    """

    keeps: ClassVar[bool] = True

    count: int
    k: int | None = None
    groups: Literal["clusters", "random"] = "clusters"
    gate: Literal["keys", "random"] = "keys"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 2:
            raise RecipeError(f"'count' of split_experts must be at least 2, not {self.count}")
        if self.k is not None and not 1 <= self.k <= self.count:
            raise RecipeError(f"'k' of split_experts must be from 1 to {self.count}, the experts, not {self.k}")

    @property
    def keeps_function(self) -> bool:
        """Whether every token goes to all experts."""
        return self.k in (None, self.count)

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The first of two linear layers with an activation between, whose channels split evenly."""
        view = View(graph, types)
        return tuple(i for i in graph.nodes if chain(view, i) and not self._width(graph, i) % self.count)

    def hindrance(self, graph: Graph, types: Types, at: str) -> str:
        """That the hidden channels do not divide."""
        if not chain(View(graph, types), at):
            return ""
        return f"its {self._width(graph, at)} channels are no multiple of {self.count} experts"

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with `experts` in the place of the steps, under their container's path if that is all it holds."""
        steps, nodes = chain(View(graph, types), at), graph.nodes
        new, source = _place(graph, steps), nodes[at].sources[0]
        block: dict[str, Node] = {}
        args: dict[str, Any] = {"count": self.count, "k": self.k or self.count, "weighted": False}
        args["bias"] = has_bias(nodes[steps[-1]])
        sources = [source]
        if self.gate == "random":
            router = free_id(graph, f"{new}_router")
            block[router] = replace(step("linear", {"out": self.count, "bias": False}, (source,)), frozen=True)
            sources.append(router)
        else:
            args["keys"] = _inner(steps)[at]
        made = step("experts", args, tuple(sources))
        body = self._body(graph, steps, new, [name for name, _ in made.inputs])
        block[new] = replace(made, body=body, span=nodes[at].span, frozen=nodes[at].frozen)
        kept: dict[str, Node] = {}
        for i, node in graph:
            kept |= block if i == steps[-1] else {} if i in steps else {i: node}
        return rewired(graph, kept, {steps[-1]: new} if steps[-1] != new else {}, tuple(block))

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """Each expert's rows of the first layer and columns of the second, and the bias of the sum."""
        from assembler.infer.shape import shapes

        steps = chain(View(before, shapes(before)), at)
        new, first, last = _place(before, steps), steps[0], steps[-1]
        names = _inner(steps)
        made: dict[str, Tensor] = {}
        for n, rows in enumerate(self._groups(state[f"{first}.weight"], at)):
            head, tail = (f"{new}.expert.{n}.{names[i]}" for i in (first, last))
            made |= {f"{head}.{key}": state[f"{first}.{key}"][rows] for key in _keys(state, first)}
            made[f"{tail}.weight"] = state[f"{last}.weight"][:, rows]
        return made | ({f"{new}.bias": state[f"{last}.bias"]} if f"{last}.bias" in state else {})

    def _groups(self, weight: Tensor, at: str) -> list[list[int]]:
        from assembler.rewrites.clusters import clusters

        if self.groups == "clusters":
            return clusters(weight.detach().double().cpu().numpy(), self.count, self.seed)
        order, size = list(range(len(weight))), len(weight) // self.count
        random.Random(f"{self.seed}:{at}").shuffle(order)
        return [sorted(order[n : n + size]) for n in range(0, len(order), size)]

    def _body(self, graph: Graph, steps: tuple[str, ...], name: str, inputs: list[str]) -> Graph:
        names, nodes, before = _inner(steps), {}, "x"
        for i in steps:
            old = graph.nodes[i]
            args = dict(old.args)
            if i == steps[0]:
                args["out"] = self._width(graph, i) // self.count
            if i == steps[-1]:
                args["bias"] = False
            made = step(old.op, args, (before,), old)
            init = tuple(rule for rule in old.init if i != steps[-1] or rule[0] != "bias")
            nodes[names[i]] = replace(made, span=old.span, init=init)
            before = names[i]
        types = tuple((port, TensorType(())) for port in inputs)
        return Graph(types, nodes, (("output", before),), name=name)

    @staticmethod
    def _width(graph: Graph, at: str) -> int:
        return int(argument(graph.nodes[at], "out"))


def chain(view: View, at: str) -> tuple[str, ...]:
    """The steps from a linear layer over activations to the next one, each read by the next alone; else none."""
    nodes, steps = view.graph.nodes, [at]
    if nodes[at].op != "linear":
        return ()
    while (after := view.lone(steps[-1])) and nodes[after].op in ACTIVATIONS:
        steps.append(after)
    if not after or nodes[after].op != "linear" or len(steps) < 2:
        return ()
    steps.append(after)
    return tuple(steps) if view.free(*steps) and len({nodes[i].frozen for i in steps}) == 1 else ()


def _place(graph: Graph, steps: tuple[str, ...]) -> str:
    """The path of the experts: the container of the steps if they are all that it holds, else that of the first."""
    path = steps[0].rpartition(".")[0]
    whole = graph.names.get(path) == steps[-1] and set(graph.region(path)) == set(steps)
    return path if whole else steps[0]


def _inner(steps: tuple[str, ...]) -> dict[str, str]:
    """The names of the steps in an expert's body: the last part of their paths."""
    taken, names = {"x", "logits"}, {}
    for i in steps:
        name = last = i.rpartition(".")[2]
        n = 2
        while name in taken:
            name, n = f"{last}_{n}", n + 1
        taken.add(name)
        names[i] = name
    return names


def _keys(state: Weights, i: str) -> list[str]:
    return [key for key in ("weight", "bias") if f"{i}.{key}" in state]
