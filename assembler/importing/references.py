"""Which value tells a step the batch, other sizes that are free and the device, and which value a container holds.

Of all values that have the batch as axis 0 it is one that enters the innermost container anyway, so that the container
can still be cut out of its graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from assembler.errors import GraphError, Problem
from assembler.graph.core import Graph, Node
from assembler.importing.batch import Free, free_in
from assembler.importing.nodes import Draft, settled
from assembler.importing.operators import LATER


def connected(draft: Draft, name: str) -> Graph:
    """The graph of a draft, every input that only tells batch and device connected, without steps that nobody reads."""
    used = _used(draft)
    nodes = {i: node for i, node in draft.nodes.items() if i in used}
    entering = _entering(nodes)
    place = {i: n for n, i in enumerate([*(n for n, _ in draft.inputs), *nodes])}
    top = next((n for n, _ in draft.inputs if draft.open[n]), "")
    if not top:
        raise GraphError("no input has the batch as its first axis")
    for i, node in nodes.items():
        if LATER in node.sources:
            source = _reference(i, node, entering, place, draft, top)
            nodes[i] = settled(node, source, draft.axes.get(source, ()))
    graph = Graph(tuple(draft.inputs), nodes, tuple(draft.outputs), {}, name, tuple(draft.only))
    return replace(graph, names=dict(_names(graph)))


def _used(draft: Draft) -> set[str]:
    found: set[str] = set()
    waiting = [i for _, i in draft.outputs]
    while waiting:
        i = waiting.pop()
        if i in draft.nodes and i not in found:
            found.add(i)
            waiting += [s for s in draft.nodes[i].sources if s != LATER]
            waiting += [path for part, path in draft.nodes[i].share if not part]
            waiting += [path.rpartition(".")[0] for part, path in draft.nodes[i].share if part]
    return found


def containers(i: str) -> Iterator[str]:
    """The paths around an id, the innermost first."""
    while "." in i:
        i = i.rpartition(".")[0]
        yield i


def _entering(nodes: Mapping[str, Node]) -> dict[str, list[str]]:
    """By container, the values that enter it."""
    found: dict[str, dict[str, None]] = {}
    for i, node in nodes.items():
        for container in containers(i):
            inside = f"{container}."
            outside = (s for s in node.sources if s != LATER and not s.startswith(inside))
            found.setdefault(container, {}).update(dict.fromkeys(outside))
    return {path: list(values) for path, values in found.items()}


def _reference(
    i: str,
    node: Node,
    entering: Mapping[str, Iterable[str]],
    place: Mapping[str, int],
    draft: Draft,
    top: str,
) -> str:
    sizes = free_in(tuple(value for _, value in node.args))

    def fits(source: str) -> bool:
        known = bool(draft.open.get(source)) and place[source] < place[i]
        return known and all(size.at(draft.axes.get(source, ())) for size in sizes)

    own = [s for s in node.sources if s != LATER and fits(s)]
    if own:
        return own[0]
    for container in containers(i):
        fitting = [s for s in entering.get(container, ()) if fits(s)]
        if fitting:
            return fitting[0]
    if not sizes:
        return top
    found = next((s for s in place if fits(s)), "")
    if not found:
        raise GraphError(Problem(f"'{i}' ({node.op}) takes {_said(sizes)}, which no value has as a size", path=i))
    return found


def _said(sizes: list[Free]) -> str:
    return " and ".join(dict.fromkeys(size.whole for size in sizes))


def _names(graph: Graph) -> Iterator[tuple[str, str]]:
    """(container, the step that holds its value) of every container that one value leaves."""
    users = graph.users()
    ends = {i for _, i in graph.outputs}
    leaving: dict[str, dict[str, None]] = {}
    for i in graph.nodes:
        for container in containers(i):
            found = leaving.setdefault(container, {})
            if i in ends or any(not user.startswith(f"{container}.") for user, _ in users[i]):
                found[i] = None
    for container, values in leaving.items():
        if len(values) == 1 and container not in graph.nodes and container not in graph.input_names:
            yield container, next(iter(values))
