"""A new step behind another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from assembler.graph.core import Graph, Node
from assembler.graph.edit import Slot, step
from assembler.registry import rewrite
from assembler.rewrites.arguments import Arguments, checked
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.swap_op import made_by
from assembler.rewrites.view import View, free_id, inserted


@rewrite("insert_step")
@dataclass(frozen=True)
class InsertStep(Rewrite):
    """Insert a step behind another, behind all steps of the op `of` where that is given.

    The new one is called `<path>_<op>`, reads the other's value and is read in its place. It may go wherever it keeps
    the value's type. Its weights begin as the op draws them.
    """

    keeps: ClassVar[bool] = False

    op: str
    args: Mapping[str, Any] = field(default_factory=Arguments)
    of: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "args", checked(self.op, self.args, self.of))

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The steps whose value the op takes and gives back in the same type."""
        view = View(graph, types)
        wanted = (i for i, node in graph if self.of in (None, node.op) and view.single(i))
        return tuple(i for i in wanted if made_by(self._new(i), (types[i],)) == types[i])

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with the new step."""
        i = free_id(graph, f"{at}_{self._new(at).op}")
        new = replace(self._new(at), span=graph.nodes[at].span)
        return inserted(graph, Slot(at, (at,), "", at), {i: new}, i)

    def _new(self, at: str) -> Node:
        return step(self.op, self.args, (at,))
