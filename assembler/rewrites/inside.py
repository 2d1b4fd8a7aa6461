"""The bodies of steps as graphs of their own, so that rewrites can work on what a loop or an expert does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from assembler.graph.core import Graph, Node
from assembler.graph.shares import UP
from assembler.rewrites.core import Types
from assembler.rewrites.view import View

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Inside:
    """The body of a step, typed; `prefixes` begin the keys of its weights, one prefix a copy that the step makes."""

    step: str
    graph: Graph
    prefixes: tuple[str, ...]

    def part(self, state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
        """The weights of one copy, under the keys that they have in the body alone."""
        return {key.removeprefix(prefix): t for key, t in state.items() if key.startswith(prefix)}

    def put(self, graph: Graph, body: Graph) -> Graph:
        """The graph around with another body, which reads and makes what this one does."""
        node = graph.nodes[self.step]
        assert node.body is not None
        changed = replace(node, body=replace(body, inputs=node.body.inputs))
        return replace(graph, nodes={i: changed if i == self.step else old for i, old in graph})


def bodies(graph: Graph, types: Types) -> Iterator[Inside]:
    """The bodies that can be changed by themselves: whose weights nobody outside uses, and that use none from there."""
    view = View(graph, types)
    for i, node in graph:
        if node.body is not None and view.free(i) and not _reaches_out(node.body):
            found = _opened(i, node, types)
            if found is not None:
                yield found


def all_paths(graph: Graph, prefix: str = "") -> Iterator[str]:
    """The paths of all steps and containers, those in bodies too."""
    for path in dict.fromkeys((*graph.nodes, *graph.names)):
        yield f"{prefix}{path}"
    for i, node in graph:
        if node.body is not None:
            yield from all_paths(node.body, f"{prefix}{i}.")


def _reaches_out(body: Graph) -> bool:
    return any(path.startswith(UP) for _, node in body for _, path in node.share) or any(
        _reaches_out(node.body) for _, node in body if node.body is not None
    )


def _opened(i: str, node: Node, types: Types) -> Inside | None:
    """The body as the step's op builds it; None where its copies are not of one form."""
    import torch

    from assembler.infer.interpret import Interpreter
    from assembler.infer.shape import shapes
    from assembler.infer.step import step_of

    made: list[tuple[Graph, nn.Module]] = []

    def build(graph: Graph, name: str) -> nn.Module:
        made.append((graph, Interpreter(graph, shapes(graph), shapes)))
        return made[-1][1]

    with torch.device("meta"):
        step = step_of(node, tuple(types[s] for s in node.sources), build, shapes)
    if not isinstance(step, torch.nn.Module) or len({graph for graph, _ in made}) != 1:
        return None
    names = {id(module): name for name, module in step.named_modules()}
    held = (names.get(id(module), "") for _, module in made)
    return Inside(i, made[0][0], tuple(".".join(filter(None, (i, name))) + "." for name in held))
