"""The check of what steps share: that it is there, stands before them and has weights that others may use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from assembler.errors import AssemblerError, Problem, near
from assembler.graph.core import Graph, Node
from assembler.graph.shares import Found, find, owner_of, parts
from assembler.registry import lookup


@dataclass(frozen=True)
class _Frame:
    """A graph whose steps are being checked: those seen so far, and the step whose body it is."""

    graph: Graph
    path: str = ""
    holder: Node | None = None
    seen: set[str] = field(default_factory=set)


def known_shares(graph: Graph) -> Iterator[Problem]:
    """Steps share with steps of the same op that stand before them and have weights of their own."""
    yield from _checked([_Frame(graph)])


def lends(op: str) -> bool:
    """Whether the steps in the body of an op have one set of weights each, which other steps can use."""
    try:
        return bool(lookup("op", op).option("lends"))
    except AssemblerError:
        return False


def _checked(frames: list[_Frame]) -> Iterator[Problem]:
    frame = frames[-1]
    for i, node in frame.graph.nodes.items():
        at = f"{frame.path}{i}"
        for name, path in node.share:
            fault = _fault(frames, node, name, path)
            if fault is not None:
                yield Problem(f"step '{at}'{fault[0]}", node.span, at, fault[1])
        if node.body is not None:
            yield from _checked([*frames, _Frame(node.body, f"{at}.", node)])
        frame.seen.add(i)


def _fault(frames: Sequence[_Frame], node: Node, name: str, path: str) -> tuple[str, str] | None:
    """What is wrong with one thing that a step shares, and a hint."""
    graphs, through = [f.graph for f in frames], [f.holder for f in frames if f.holder is not None]
    found = find(graphs, path, through)
    if found is None or bool(name) != bool(found.parameter):
        return f" shares '{path}', which does not exist", near(path, list(graphs[-1].nodes))
    up, (first, *rest) = parts(path)
    there = frames[len(frames) - 1 - up]
    if (first if rest else owner_of(first, there.graph.nodes)[0]) not in there.seen:
        return f" shares '{path}', which does not stand before it", "order the steps"
    if copied := next((n for n in (*found.left, *found.entered) if not lends(n.op)), None):
        return f" shares '{path}' across the body of a {copied.op}, which has copies of its weights", COPIES
    return None if name else _whole(found, node, path)


def _whole(found: Found, node: Node, path: str) -> tuple[str, str] | None:
    if found.node.op != node.op:
        return f", a {node.op}, shares the weights of '{path}', a {found.node.op}", "both must be the same op"
    if any(n.owner for n in (found.node, *found.entered)):
        return f" shares '{path}', which shares others itself", "share those"
    return None


COPIES = "its copies have weights of their own; the steps of one body can share"
"""A hint where weights are shared across a body of which there are copies."""
