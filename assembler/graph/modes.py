"""Graphs that differ between training and evaluation: `switch` steps, and inputs and outputs of one mode alone."""

from __future__ import annotations

from typing import Literal

from assembler.graph.core import SWITCH, Graph, Node
from assembler.graph.reach import reach
from assembler.graph.shares import owners

Mode = Literal["train", "eval"]
MODES: tuple[Mode, Mode] = ("train", "eval")


def has_modes(graph: Graph) -> bool:
    """Whether training and evaluation run different steps. Sub-graphs of steps have modes of their own."""
    return bool(graph.only) or any(node.op == SWITCH for node in graph.nodes.values())


def in_mode(graph: Graph, mode: Mode) -> Graph:
    """The graph as it is in one mode: without switches, and without what is there for the other mode alone.

    Steps that nothing depends on are then left out, and so are inputs of one mode that nothing reads. A frozen switch
    stays in evaluation like every frozen step.
    """
    if not has_modes(graph):
        return graph
    gone = {name for name, when in graph.only if when != mode}
    moved: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    for i, node in graph.nodes.items():
        if node.op == SWITCH:
            source = dict(node.inputs)["eval" if node.frozen else mode]
            moved[i] = moved.get(source, source)
        else:
            nodes[i] = node.reading(moved)
    outputs = tuple((name, moved.get(i, i)) for name, i in graph.outputs if name not in gone)
    needed = _needed(nodes, [i for _, i in outputs])
    bound = {name for name, _ in graph.only}
    return Graph(
        tuple((name, kind) for name, kind in graph.inputs if name not in bound or name in needed),
        {i: node for i, node in nodes.items() if i in needed},
        outputs,
        {path: i for path, v in graph.names.items() if (i := moved.get(v, v)) in needed or i in graph.input_names},
        graph.name,
    )


def _needed(nodes: dict[str, Node], ends: list[str]) -> set[str]:
    """The ids that `ends` depend on, their own and shared steps' owners with them."""
    return reach(ends, lambda i: (*nodes[i].sources, *owners(nodes[i], nodes)) if i in nodes else ())
