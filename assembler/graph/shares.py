"""Which steps a step's weights come from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from assembler.graph.core import Node


def owner_of(path: str, ids: Collection[str]) -> tuple[str, str]:
    """(the step, the parameter's name in it) that a shared path names: the longest prefix that is a step, "" if none.

    >>> owner_of("block.mlp.0.weight", {"block", "block.mlp"})
    ('block.mlp', '0.weight')
    """
    step, rest = path, ""
    while step and step not in ids:
        step, _, last = step.rpartition(".")
        rest = f"{last}.{rest}" if rest else last
    return step, rest


def owners(node: Node, ids: Collection[str]) -> Iterator[str]:
    """The steps whose weights a step uses."""
    return (owner_of(path, ids)[0] for _, path in node.share)


def moved_shares(node: Node, moved: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What a step shares after steps were renamed, old id -> new id; a step that is not in `moved` keeps its id."""
    found = []
    for name, path in node.share:
        step, rest = owner_of(path, moved)
        new = moved.get(step, step)
        found.append((name, (f"{new}.{rest}" if rest else new) if step else path))
    return tuple(found)
