"""What has faded in the course of training is taken out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from assembler.errors import GraphError
from assembler.graph.core import Graph
from assembler.graph.edit import prune
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.view import View, argument, rewired


@rewrite("end_fades")
@dataclass(frozen=True)
class EndFades(Rewrite):
    """Put what a `fade` ends with in its place, and take out what only its beginning needed.

    For one that training has brought to its end; another is refused where the weights are known.
    """

    keeps: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The fades."""
        view = View(graph, types)
        return tuple(i for i, node in graph if node.op == "fade" and view.free(i))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with the new value in the place of the mixture."""
        node = graph.nodes[at]
        done, steps = int(state[f"{at}.count"]) if state else None, argument(node, "steps")
        if done is not None and done < steps:
            hint = "train it to the end before"
            raise GraphError(f"'{at}' has faded in {done} of its {steps} steps", path=at, hint=hint)
        return prune(rewired(graph, {i: n for i, n in graph if i != at}, {at: dict(node.inputs)["new"]}))
