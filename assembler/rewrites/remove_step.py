"""A step or a container taken out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from assembler.graph.core import Graph
from assembler.registry import lookup, rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.view import View, rewired


@rewrite("remove_step")
@dataclass(frozen=True)
class RemoveStep(Rewrite):
    """Take out a step or a container, all steps of the op `of` where that is given; who read it reads what it read.

    It may go wherever one value enters and one of the same type leaves.
    """

    keeps: ClassVar[bool] = False

    of: str | None = None

    def __post_init__(self) -> None:
        if self.of is not None:
            lookup("op", self.of)

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The steps and containers that can be taken out."""
        found = ((slot.path, graph.nodes.get(slot.path)) for slot in View(graph, types).steady())
        return tuple(path for path, node in found if self.of is None or (node is not None and node.op == self.of))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph without the region."""
        slot = next(s for s in View(graph, types).steady() if s.path == at)
        nodes = {i: node for i, node in graph if i not in slot.ids}
        return rewired(graph, nodes, {slot.output: slot.source})
