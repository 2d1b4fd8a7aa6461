"""Branches cut off where they join."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from assembler.graph.core import Graph
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.view import View, rewired


@rewrite("prune_path")
@dataclass(frozen=True)
class PrunePath(Rewrite):
    """Cut off a branch that joins others: an input of a sum, a product or a weighted sum, and what only it needs.

    The place is the last step of the branch. The join stays, also where one input is left.
    """

    keeps: ClassVar[bool] = False

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The values that only a join reads, of those joins that have another input of full size."""
        view = View(graph, types)
        return tuple(value for value, join in _branches(view) if not view.is_shared_outside(_needed(view, value)))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph without the branch."""
        view = View(graph, types)
        join = dict(_branches(view))[at]
        left = (s for s in graph.nodes[join].sources if s != at)
        cut = replace(graph.nodes[join], inputs=tuple((str(n), s) for n, s in enumerate(left)))
        gone = set(_needed(view, at))
        return rewired(graph, {i: cut if i == join else node for i, node in graph if i not in gone}, {})

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """The weights of a weighted sum, those of the other inputs."""
        join = next(i for i, node in before if at in node.sources)
        key = f"{join}.weight"
        if before.nodes[join].op != "weighted_sum" or before.nodes[join].owner:
            return {}
        return {key: state[key][[n for n, s in enumerate(before.nodes[join].sources) if s != at]]}


def _branches(view: View) -> Iterator[tuple[str, str]]:
    """(the last step of a branch, the join that alone reads it)."""
    for join, node in view.graph:
        if node.op not in ("add", "mul", "weighted_sum") or (node.op == "weighted_sum" and not view.free(join)):
            continue
        for value in dict.fromkeys(node.sources):
            full = any(view.types[s] == view.types[join] for s in node.sources if s != value)
            if full and value in view.graph.nodes and view.lone(value) == join:
                yield value, join


def _needed(view: View, value: str) -> list[str]:
    """The steps that nothing but the branch needs, its last one first."""
    found, waiting = [value], [value]
    while waiting:
        for source in view.graph.nodes[waiting.pop()].sources:
            if source in view.graph.nodes and source not in found and set(view.readers[source]) <= set(found):
                found.append(source)
                waiting.append(source)
    return found
