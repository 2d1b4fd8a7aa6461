"""Which steps a step's weights come from, be they in this graph, around it, or in the body of a step.

A shared path is `a.b` for a step of the same graph, `^a.b` for one of the graph around the body that the sharing step
is in (`^^` for the graph around that), and `loop/a.b` for one in the body of the step `loop`. A parameter's name may
stand behind the last step: `^embed.weight`, or `encoder.weight.T` for the matrix transposed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from assembler.graph.core import Graph, Node

UP, INTO, TRANSPOSED = "^", "/", ".T"


class Found(NamedTuple):
    """The step of a graph that a shared path leads to, the parameter in it, and the steps whose bodies are passed.

    `graphs` are the graphs around it, the outermost first, and its own.
    """

    graphs: tuple[Graph, ...]
    step: str
    parameter: str
    left: tuple[Node, ...]
    entered: tuple[Node, ...]

    @property
    def node(self) -> Node:
        """The step itself."""
        return self.graphs[-1].nodes[self.step]


def parts(path: str) -> tuple[int, tuple[str, ...]]:
    """How many graphs a shared path goes up, and the steps that it leads through.

    >>> parts("^loop/inner/cell.weight")
    (1, ('loop', 'inner', 'cell.weight'))
    """
    rest = path.lstrip(UP)
    return len(path) - len(rest), tuple(rest.split(INTO))


def is_across(path: str) -> bool:
    """Whether a shared path leads to another graph."""
    return path.startswith(UP) or INTO in path


def owner_of(path: str, ids: Collection[str]) -> tuple[str, str]:
    """(the step, the parameter's name in it) that a path in one graph names: the longest prefix that is a step.

    The step is "" where there is none.

    >>> owner_of("block.mlp.0.weight", {"block", "block.mlp"})
    ('block.mlp', '0.weight')
    """
    step, rest = path, ""
    while step and step not in ids:
        step, _, last = step.rpartition(".")
        rest = f"{last}.{rest}" if rest else last
    return step, rest


def owners(node: Node, ids: Collection[str], depth: int = 0) -> Iterator[str]:
    """The steps of a node's own graph whose weights it uses, itself or in its body: of others', what holds them."""
    for _, path in node.share:
        up, steps = parts(path)
        if up == depth:
            yield owner_of(steps[0], ids)[0] if len(steps) == 1 else steps[0]
    for inner in node.body.nodes.values() if node.body is not None else ():
        yield from owners(inner, ids, depth + 1)


def find(graphs: Sequence[Graph], path: str, through: Sequence[Node] = ()) -> Found | None:
    """Where a shared path leads, told in the last of some graphs, each the body of one of `through` in the one before.

    None where there is no such step.
    """
    up, (*entered, last) = parts(path)
    if up >= len(graphs):
        return None
    left = tuple(through[len(through) - up :]) if up else ()
    around = tuple(graphs[: len(graphs) - up])
    passed = []
    for step in entered:
        node = around[-1].nodes.get(step)
        if node is None or node.body is None:
            return None
        passed.append(node)
        around = (*around, node.body)
    step, parameter = owner_of(last, around[-1].nodes)
    return Found(around, step, parameter, left, tuple(passed)) if step else None


def outside(step: str, path: str) -> str:
    """A shared path of a step in the body of `step`, as it is told beside `step`."""
    return path[1:] if path.startswith(UP) else f"{step}{INTO}{path}"


def renamed(node: Node, names: Mapping[str, str], depth: int = 0) -> Node:
    """The node after steps of its graph were renamed, old id -> new id: what it and its body share is where it was.

    A step that is not in `names` keeps its id, and a node that shares none of them is the same object.
    """
    share = tuple((name, _renamed(path, names) if parts(path)[0] == depth else path) for name, path in node.share)
    if node.body is None:
        return node if share == node.share else replace(node, share=share)
    body = with_nodes(node.body, ((i, renamed(inner, names, depth + 1)) for i, inner in node.body))
    return node if (share, body) == (node.share, node.body) else replace(node, share=share, body=body)


def enclosed(node: Node, prefix: str, depth: int = 0) -> Node:
    """The node once its graph's steps whose ids begin with `prefix` are a body: what others it shares is around it."""
    share = tuple((name, _enclosed(path, prefix, depth)) for name, path in node.share)
    if node.body is None:
        return replace(node, share=share)
    return replace(
        node, share=share, body=with_nodes(node.body, ((i, enclosed(n, prefix, depth + 1)) for i, n in node.body))
    )


def with_nodes(graph: Graph, nodes: Iterable[tuple[str, Node]]) -> Graph:
    """The graph with other nodes; the same object where all of them are its own."""
    found = dict(nodes)
    same = all(graph.nodes.get(i) is node for i, node in found.items())
    return graph if same else replace(graph, nodes=found)


def _renamed(path: str, names: Mapping[str, str]) -> str:
    up, (first, *rest) = parts(path)
    step, parameter = owner_of(first, names)
    new = names.get(step, step)
    first = (f"{new}.{parameter}" if parameter else new) if step else first
    return UP * up + INTO.join((first, *rest))


def _enclosed(path: str, prefix: str, depth: int) -> str:
    rest = path.lstrip(UP)
    if len(path) - len(rest) != depth:
        return path
    inside = rest.startswith(prefix)
    return UP * (depth + (not inside)) + (rest.removeprefix(prefix) if inside else rest)
