"""Steps that change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from assembler.graph.core import SWITCH, Graph, Node
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.ops import DROPOUTS
from assembler.rewrites.view import View, argument, rewired


@rewrite("drop_identities")
@dataclass(frozen=True)
class DropIdentities(Rewrite):
    """Take out steps that change nothing: identities, dropout with p = 0, sums of one, switches between equals.

    In training and evaluation alike; with `mode: eval` also all that evaluation does not notice, dropout of any p.
    """

    keeps: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    mode: Literal["both", "eval"] = "both"

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The steps that change nothing."""
        view = View(graph, types)
        return tuple(i for i, node in graph if self._is_idle(node) and i not in view.sharers)

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph without the step."""
        nodes = {i: node for i, node in graph if i != at}
        return rewired(graph, nodes, {at: graph.nodes[at].sources[0]})

    def _is_idle(self, node: Node) -> bool:
        if node.op in DROPOUTS:
            return self.mode == "eval" or argument(node, "p") == 0
        if node.op in ("add", "mul", "concat", SWITCH):
            return len(node.inputs) == 1 or (node.op == SWITCH and len(set(node.sources)) == 1)
        return node.op == "identity"
