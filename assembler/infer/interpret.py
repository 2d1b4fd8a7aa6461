"""A graph run step by step, on any device: what inference needs of a graph before it is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from torch import nn

from assembler.graph.core import ITEM, Graph, TensorType
from assembler.graph.modes import MODES, computed, in_mode
from assembler.graph.shares import owner_of
from assembler.infer.step import Infer, call_step, step_of
from assembler.infer.ties import tie
from assembler.registry import lookup


class Interpreter(nn.Module):
    """The graph as a module: keyword arguments by name in, outputs by name out. Its weights are torch's own draws.

    `infer` gives the types of a graph's values, for bodies.
    """

    def __init__(self, graph: Graph, types: Mapping[str, TensorType], infer: Infer) -> None:
        super().__init__()

        def lower(body: Graph, name: str) -> nn.Module:
            return Interpreter(body, infer(body), infer)

        self.graph = graph
        self.steps: dict[str, Any] = {}
        used = {i for mode in MODES for i in in_mode(graph, mode).nodes}
        for i, node in graph:
            if node.op == ITEM or i not in used:
                continue
            given = [types[s] for s in node.sources]
            step = self.steps[node.owner] if node.owner else step_of(node, given, lower, infer)
            if isinstance(step, nn.Module) and not node.owner:
                self.add_module(i.replace(".", "_"), step)
            for name, path in node.share if not node.owner else ():
                owner, parameter = owner_of(path, self.steps)
                tie(step, name, self.steps[owner], parameter)
            if node.frozen and isinstance(step, nn.Module):
                step.requires_grad_(False)
            self.steps[i] = step

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all steps but the frozen ones."""
        super().train(mode)
        for i, step in self.steps.items() if mode else ():
            if self.graph.nodes[i].frozen and isinstance(step, nn.Module):
                step.eval()
        return self

    def forward(self, **values: Any) -> dict[str, Any]:
        """The outputs, by name."""
        further: dict[str, dict[str, Any]] = {}
        graph = in_mode(self.graph, "train" if self.training else "eval")
        run = computed(graph)
        for i, node in graph:
            if i not in run:
                continue
            if node.op == ITEM:
                values[i] = further[node.sources[0]][str(node.arg("output"))]
            else:
                further[i] = call_step(self.steps[i], lookup("op", node.op), node, values)
                values[i] = next(iter(further[i].values()))
        return {name: values[i] for name, i in graph.outputs}
