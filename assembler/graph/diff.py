"""What differs between two graphs, by path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from assembler.graph.core import Graph, Node
from assembler.graph.text import step_text, value_text

Change = tuple[str, str]
"""A path and what is or has changed there. Outputs stand as `output NAME`, graph inputs as `input NAME`."""


@dataclass(frozen=True, slots=True)
class Diff:
    """Steps, inputs and outputs that are added, removed and changed; false where there is no difference.

    Names of containers, order and provenance are not compared.
    """

    added: tuple[Change, ...] = ()
    removed: tuple[Change, ...] = ()
    changed: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    @property
    def first(self) -> str:
        """The first of the edits, "" where there is none."""
        return next((line.strip() for line in str(self).splitlines()), "")

    def __str__(self) -> str:
        if not self:
            return "no difference"
        return "\n".join([*_lines("-", self.removed), *_lines("+", self.added), *_lines("~", self.changed)])


def diff(a: Graph, b: Graph) -> Diff:
    r"""The edits that lead from `a` to `b`.

    >>> from assembler.graph.text import from_text
    >>> before = from_text('graph "m" (%x: float32[1, 8]) {\n  %act = relu(input=%x)\n  return y = %act\n}')
    >>> print(diff(before, before.replace("act", op="gelu")))
    ~ act: op relu -> gelu
    """
    old, new = _entries(a), _entries(b)
    changed = []
    for path in old:
        if path in new and old[path] != new[path]:
            node, other = a.nodes.get(path), b.nodes.get(path)
            what = _step(node, other) if node and other else (f"{old[path]} -> {new[path]}",)
            changed += [(path, w) for w in what]
    return Diff(
        tuple((path, text) for path, text in new.items() if path not in old),
        tuple((path, text) for path, text in old.items() if path not in new),
        tuple(changed),
    )


def _entries(graph: Graph) -> dict[str, str]:
    only = {name: f" {mode}" for name, mode in graph.only}
    found = {f"input {name}": f"{kind}{only.get(name, '')}" for name, kind in graph.inputs}
    found |= {i: step_text(node) for i, node in graph}
    return found | {f"output {name}": f"{i}{only.get(name, '')}" for name, i in graph.outputs}


def _step(old: Node, new: Node) -> Iterator[str]:
    if old.op != new.op:
        yield f"op {old.op} -> {new.op}"
    yield from _pairs("arg", _texts(old), _texts(new), " ")
    if old.op == new.op or old.sources != new.sources:  # another op calls the same inputs by other names
        yield from _pairs("input", dict(old.inputs), dict(new.inputs), ": ")
    yield from _pairs("share", dict(old.share), dict(new.share), " ")
    yield from _pairs("init", _inits(old), _inits(new), " ")
    if old.frozen != new.frozen:
        yield "frozen" if new.frozen else "no longer frozen"
    if old.body is not None and new.body is not None:
        inner = diff(old.body, new.body)
        yield from (f"inside: {line}" for line in str(inner).splitlines() if inner)
    elif (old.body is None) != (new.body is None):
        yield "a body is added" if old.body is None else "the body is gone"


def _texts(node: Node) -> dict[str, str]:
    return {name: value_text(value) for name, value in node.args}


def _inits(node: Node) -> dict[str, str]:
    return {name: value_text(rule) for name, rule in node.init}


def _pairs(kind: str, old: dict[str, str], new: dict[str, str], gap: str) -> Iterator[str]:
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield f"{kind} {name}{gap}{old.get(name, '(none)')} -> {new.get(name, '(none)')}"


def _lines(mark: str, changes: Iterable[Change]) -> Iterator[str]:
    return (f"{mark} {path}: {what}" for path, what in changes)
