"""Another op in the place of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from assembler.errors import AssemblerError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.edit import step
from assembler.registry import rewrite
from assembler.rewrites.arguments import Arguments, checked
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.view import View, rewired


@rewrite("swap_op")
@dataclass(frozen=True)
class SwapOp(Rewrite):
    """Put another op in the place of a step, of all steps of the op `of` where that is given.

    The step keeps its path and its inputs, and weights of the same name and shape. It may go wherever the new op makes
    a value of the same type.
    """

    keeps: ClassVar[bool] = False

    op: str
    args: Mapping[str, Any] = field(default_factory=Arguments)
    of: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "args", checked(self.op, self.args, self.of))

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The steps that the op fits."""
        view = View(graph, types)
        wanted = (i for i, node in graph if self.of in (None, node.op) and view.free(i) and view.single(i))
        return tuple(i for i in wanted if self._fits(graph, types, i))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with the other step."""
        new = self._new(graph.nodes[at])
        return rewired(graph, {i: new if i == at else node for i, node in graph}, {})

    def _new(self, node: Node) -> Node:
        return replace(step(self.op, self.args, node.sources, node), frozen=node.frozen)

    def _fits(self, graph: Graph, types: Types, i: str) -> bool:
        node = graph.nodes[i]
        made = made_by(self._new(node), tuple(types[s] for s in node.sources)) if node.body is None else None
        return made == types[i] and (self._new(node).op, self._new(node).args) != (node.op, node.args)


def made_by(node: Node, types: tuple[TensorType, ...]) -> TensorType | None:
    """The type of what a step makes of values of these types, None where it refuses them."""
    from assembler.graph.verify import verify
    from assembler.infer.shape import shapes
    from assembler.rewrites.traits import alone

    if len(types) != len(node.inputs):
        return None
    try:
        graph = alone(node, types)
        verify(graph)
        return shapes(graph)["step"]
    except AssemblerError:
        return None
