"""Blends of several sets of weights to plain steps with weights of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from assembler.graph.core import Graph, Node
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.view import View, is_leaf, rewired, spliced

BY = "by"
"""The input of a blend that says how much of each set there is."""


@rewrite("unblend")
@dataclass(frozen=True)
class Unblend(Rewrite):
    """Lay out a `blend` as the steps of its body, with the weights that its sum comes to.

    Steps that shared their sets have weights of their own from then on: so a learngene becomes a model of any depth
    that can be trained freely (Xia et al. 2024, arXiv 2312.05614). How much there is of each set has to be a `literal`.
    """

    keeps: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The blends by fixed numbers whose weights no other step uses."""
        view = View(graph, types)
        return tuple(i for i, node in graph if _numbers(graph, node) and i not in view.sharers and is_leaf(graph, i))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with the body's steps under the path of the blend."""
        node = graph.nodes[at]
        assert node.body is not None
        given = dict(node.inputs)
        where = {**given, **{i: f"{at}.{i}" for i in node.body.nodes}}
        block = {
            where[i]: replace(n, inputs=tuple((port, where[s]) for port, s in n.inputs), frozen=n.frozen or node.frozen)
            for i, n in node.body
        }
        last = where[node.body.outputs[0][1]]
        lone = View(graph, types).lone(given[BY]) == at and not any(given[BY] in n.sources for n in block.values())
        nodes = {i: n for i, n in spliced(graph, at, block).items() if not (lone and i == given[BY])}
        names = {f"{at}.{path}": where[i] for path, i in node.body.names.items()}
        made = rewired(graph, nodes, {at: last}, tuple(block))
        return replace(made, names={**made.names, **names, at: last})

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """For every tensor the sum over the sets; what is no parameter is that of the first."""
        import torch

        from assembler.compile.lower import lower
        from assembler.infer.shape import shapes
        from assembler.rewrites.traits import alone

        node, types = before.nodes[at], shapes(before)
        by, owner = _numbers(before, node), node.owner or at
        whole = lower(alone(replace(node, share=()), tuple(types[s] for s in node.sources), at), device="meta")
        summed = dict(whole.named_parameters())
        made = {}
        for key, tensor in state.items():
            rest = key.removeprefix(f"{owner}.sets.0.")
            if rest == key:
                continue
            parts = [state[f"{owner}.sets.{k}.{rest}"] for k in range(len(by))]
            sums = f"{at}.sets.0.{rest}" in summed
            made[f"{at}.{rest}"] = (
                torch.stack([n * t for n, t in zip(by, parts, strict=True)]).sum(0) if sums else tensor
            )
        return made


def _numbers(graph: Graph, node: Node) -> tuple[float, ...]:
    """How much a blend has of each set, if that is written in the recipe and its body can stand by itself, else ()."""
    if node.op != "blend" or node.body is None or any(n.share for _, n in node.body) or node.body.only:
        return ()
    source = graph.nodes.get(dict(node.inputs)[BY])
    if source is None or source.op != "literal":
        return ()
    values, shape = source.arg("values"), source.arg("shape")
    return tuple(values) if (len(values),) == tuple(shape or ()) else ()
