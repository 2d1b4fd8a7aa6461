"""What values depend on: walks against the direction of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from assembler.graph.core import Graph


def reach(ends: Iterable[str], before: Callable[[str], Iterable[str]]) -> set[str]:
    """The ids that `before` leads to from `ends`, step by step, they with them."""
    found: set[str] = set()
    waiting = list(ends)
    while waiting:
        i = waiting.pop()
        if i not in found:
            found.add(i)
            waiting += before(i)
    return found


def upstream(graph: Graph, *ends: str) -> set[str]:
    """The ids and inputs that values are computed from, they themselves included."""
    nodes = graph.nodes
    return reach(ends, lambda i: nodes[i].sources if i in nodes else ())


def computed(graph: Graph) -> set[str]:
    """The ids that the outputs of a graph without modes depend on by value; other steps can but lend their weights."""
    return upstream(graph, *(i for _, i in graph.outputs))
