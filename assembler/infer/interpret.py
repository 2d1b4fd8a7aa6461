"""A graph run step by step, on any device: what inference needs of a graph before it is compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from torch import nn

from assembler.graph.core import ITEM, Graph, Node, TensorType
from assembler.graph.modes import MODES, in_mode
from assembler.graph.reach import computed
from assembler.graph.shares import owner_of, parts
from assembler.graph.values import is_weight
from assembler.infer.step import Infer, call_step, step_of
from assembler.infer.ties import lend, tie
from assembler.registry import lookup


class Interpreter(nn.Module):
    """The graph as a module: keyword arguments by name in, outputs by name out. Its weights are torch's own draws.

    `infer` gives the types of a graph's values, for bodies. `around` is the module of the graph around that of a body;
    without it, what the body shares of it is drawn and counts as no weight of the body.
    """

    def __init__(
        self, graph: Graph, types: Mapping[str, TensorType], infer: Infer, around: Interpreter | None = None
    ) -> None:
        super().__init__()
        self.graph = graph
        self.steps: dict[str, Any] = {}
        self.__dict__["around"] = around  # which holds this one
        used = {i for mode in MODES for i in in_mode(graph, mode).nodes}

        def lower(body: Graph, name: str) -> nn.Module:
            return Interpreter(body, infer(body), infer, self)

        for i, node in graph:
            if node.op != ITEM and i in used:
                self.steps[i] = self._made(i, node, lambda n: step_of(n, [types[s] for s in n.sources], lower, infer))

    def _made(self, i: str, node: Node, make: Callable[[Node], Any]) -> Any:
        found = self._lender(node.owner) if node.owner and self._lends(node.owner) else None
        step = found[0] if found else make(node)
        if isinstance(step, nn.Module) and not node.owner:
            self.add_module(i.replace(".", "_"), step)
        for name, path in node.share if not node.owner else ():
            if lender := self._lender(path):
                tie(step, name, *lender)
            else:
                lend(step, name)
        if node.frozen and isinstance(step, nn.Module):
            step.requires_grad_(False)
        return step

    def _lends(self, path: str) -> bool:
        """Whether a step has what others can use of it: one of no weights computes by its own arguments alone."""
        if path not in self.steps:
            return True
        step = self.steps[path]
        return bool(self.graph.nodes[path].share) or (isinstance(step, nn.Module) and bool(step.state_dict()))

    def _lender(self, path: str) -> tuple[Any, str] | None:
        """The step that a shared path names and the parameter in it, unless it is outside of what there is."""
        up, (*through, last) = parts(path)
        here: Any = self
        for _ in range(up):
            here = here.around
            if here is None:
                return None
        for step in through:
            here = here.steps[step].body
        owner, parameter = owner_of(last, here.steps)
        return here.steps[owner], parameter

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
                source, name = node.sources[0], str(node.arg("output"))
                held = is_weight(self.graph, node)
                values[i] = _weight(self.steps[source], name) if held else further[source][name]
            else:
                further[i] = call_step(self.steps[i], lookup("op", node.op), node, values)
                values[i] = next(iter(further[i].values()))
        return {name: values[i] for name, i in graph.outputs}


def _weight(step: nn.Module, name: str) -> nn.Parameter:
    return next(p for own, p in step.named_parameters() if flat(own) == flat(name))


def flat(name: str) -> str:
    """The name of a weight as it is here and in what is compiled, which keeps the dots in ids of steps of a body."""
    return name.replace(".", "_")
