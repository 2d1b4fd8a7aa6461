"""A skip around a step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from assembler.graph.core import Graph
from assembler.graph.edit import step
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.view import View, free_id, inserted


@rewrite("wrap_residual")
@dataclass(frozen=True)
class WrapResidual(Rewrite):
    """Add what enters a step or container to what leaves it, times a learned scale of every channel.

    The scale lies on the skip and begins at `init`: with 0, the default, the function stays. `init: null` is a plain
    skip without a scale. The new steps are `<path>_skip` and `<path>_sum`.
    """

    keeps: ClassVar[bool] = True

    init: float | None = 0.0

    @property
    def keeps_function(self) -> bool:
        """Whether the skip begins with nothing."""
        return self.init == 0

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The steps and containers of which one floating-point value of the type of what enters leaves."""
        kinds = ((slot, types[slot.output]) for slot in View(graph, types).steady())
        return tuple(slot.path for slot, kind in kinds if "float" in kind.dtype and len(kind.shape) > 1)

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with the skip."""
        slot = next(s for s in View(graph, types).steady() if s.path == at)
        skip, end = free_id(graph, f"{at}_skip"), free_id(graph, f"{at}_sum")
        scaled = {} if self.init is None else {skip: step("layer_scale", {"init": self.init}, (slot.source,))}
        joined = step("add", {}, (skip if scaled else slot.source, slot.output))
        span = graph.nodes[slot.output].span
        block = {i: replace(node, span=span) for i, node in {**scaled, end: joined}.items()}
        return inserted(graph, slot, block, end)
