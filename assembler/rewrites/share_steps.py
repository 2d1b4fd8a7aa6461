"""One set of weights for several steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from assembler.graph.core import Graph
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.view import View, rewired


@rewrite("share_steps")
@dataclass(frozen=True)
class ShareSteps(Rewrite):
    """Let a step use the weights of the first step that is like it: same op, arguments and widths.

    With `first` the weights of that step. Its own are dropped.
    """

    keeps: ClassVar[bool] = False

    first: str | None = None

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The steps with weights that an earlier one could lend it."""
        return tuple(i for i, _ in self._pairs(View(graph, types)))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with the step sharing."""
        owner = dict(self._pairs(View(graph, types)))[at]
        nodes = {i: replace(node, share=(("", owner),)) if i == at else node for i, node in graph}
        return rewired(graph, nodes, {})

    def _pairs(self, view: View) -> Iterator[tuple[str, str]]:
        from assembler.rewrites.traits import traits

        seen: dict[object, str] = {}
        for i, node in view.graph:
            kinds = tuple(view.types[s] for s in node.sources)
            if node.share or not traits(node, kinds).weights:
                continue
            widths = tuple(replace(kind, shape=(0, *kind.shape[1:])) for kind in kinds)
            key = (node.op, repr(node.args), node.body, node.frozen, widths)
            if self.first in (None, i):
                seen.setdefault(key, i)
            owner = seen.get(key, i)
            if owner != i and i not in view.sharers:
                yield i, owner
