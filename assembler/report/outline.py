"""What of a graph is drawn: its containers as a tree, equal repeats merged, deep or crowded parts collapsed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from assembler.graph.core import Graph
from assembler.report.numbers import TIMES

DEEPEST = 10
"""Containers below this many levels are drawn as one step."""


@dataclass(frozen=True, slots=True)
class Step:
    """A node, or a container with `children`. `nodes` are the ids under it; `times` equal copies are drawn once."""

    path: str
    label: str
    nodes: tuple[str, ...]
    children: tuple[Step, ...] = ()
    times: int = 1
    more: bool = False  # stands for steps left out

    @property
    def once(self) -> tuple[str, ...]:
        """The ids of the first copy."""
        return self.nodes[: len(self.nodes) // self.times]

    def walk(self) -> Iterator[Step]:
        """This step and everything drawn inside it."""
        yield self
        for child in self.children:
            yield from child.walk()


def outline(graph: Graph, slots: Collection[str] = (), *, most: int = 60) -> tuple[Step, ...]:
    """The top-level steps of a drawing with about `most` boxes; ways to slots are opened before anything else."""
    top = _children(graph, "", tuple(graph.nodes), 0, frozenset(slots))
    shown = _elide(top, most)
    open_paths = _choose(shown, frozenset(slots), most)
    return tuple(_prune(step, open_paths) for step in shown)


def kinds(graph: Graph, step: Step, most: int = 3) -> str:
    """The commonest ops under a step in words: `conv2d x4, relu x4, +2 other ops`, with a real times sign."""
    counted = Counter(graph.nodes[i].op for i in step.once)
    words = [op if n == 1 else f"{op} {TIMES}{n}" for op, n in counted.most_common(most)]
    rest = len(counted) - len(words)
    return ", ".join([*words, *([f"+{rest} other op{'s' if rest > 1 else ''}"] if rest else [])])


def tokens(path: str) -> list[str]:
    """The levels of a path: a number belongs to the name before it (`stage.2.block.0.mix` has three)."""
    found: list[str] = []
    for word in path.split("."):
        if found and word.isdigit():
            found[-1] += f".{word}"
        else:
            found.append(word)
    return found if len(found) <= DEEPEST else [*found[: DEEPEST - 1], ".".join(found[DEEPEST - 1 :])]


def _children(graph: Graph, prefix: str, ids: Iterable[str], depth: int, slots: frozenset[str]) -> tuple[Step, ...]:
    grouped: dict[str, list[str]] = {}
    for i in ids:
        levels = tokens(i)
        grouped.setdefault(levels[depth] if depth < len(levels) else "", []).append(i)
    found = []
    for label, inside in grouped.items():
        path = ".".join(filter(None, (prefix, label)))
        deeper = [i for i in inside if i != path]
        children = _children(graph, path, inside, depth + 1, slots) if deeper and label else ()
        found.append(Step(path, label or prefix, tuple(inside), children))
    return _merge(graph, found, slots)


def _signature(graph: Graph, step: Step) -> tuple[object, ...]:
    skip = len(step.path)
    return tuple((i[skip:], graph.nodes[i].op, graph.nodes[i].args) for i in step.nodes)


def _merge(graph: Graph, steps: list[Step], slots: frozenset[str]) -> tuple[Step, ...]:
    """Neighbours that differ only in their number become one step with a count."""
    found: list[Step] = []
    first: Step | None = None
    for step in steps:
        if first and found and _equal(graph, first, step, slots):
            last = found[-1]
            label = f"{first.label} … {step.label.rpartition('.')[2]}"
            found[-1] = replace(last, label=label, nodes=last.nodes + step.nodes, times=last.times + 1)
        else:
            first = step
            found.append(step)
    return tuple(found)


def _equal(graph: Graph, one: Step, other: Step, slots: frozenset[str]) -> bool:
    stem, _, at = one.label.rpartition(".")
    if not stem or not at.isdigit() or stem != other.label.rpartition(".")[0] or len(one.nodes) != len(other.nodes):
        return False
    if any(slot == s.path or slot.startswith(f"{s.path}.") for s in (one, other) for slot in slots):
        return False
    return _signature(graph, one) == _signature(graph, other)


def _elide(steps: tuple[Step, ...], most: int) -> tuple[Step, ...]:
    """At most `most` of the steps: the first and the last, with one in between that stands for the others."""
    if len(steps) <= most:
        return steps
    head, tail = steps[: most // 2], steps[len(steps) - most // 2 :]
    hidden = tuple(i for step in steps[len(head) : len(steps) - len(tail)] for i in step.nodes)
    label = f"{len(steps) - len(head) - len(tail):,} more steps"
    return (*head, Step("…", label, hidden, more=True), *tail)


def _choose(top: tuple[Step, ...], slots: frozenset[str], most: int) -> set[str]:
    """The containers to open, breadth first, as long as no more than `most` boxes are drawn."""
    chosen: set[str] = set()
    drawn = len(top)
    level = list(top)
    while level:
        level.sort(key=lambda s: not any(slot == s.path or slot.startswith(f"{s.path}.") for slot in slots))
        below: list[Step] = []
        for step in level:
            if step.children and drawn + len(step.children) <= most:
                chosen.add(step.path)
                drawn += len(step.children)
                below += step.children
        level = below
    return chosen


def _prune(step: Step, chosen: set[str]) -> Step:
    inside = tuple(_prune(child, chosen) for child in step.children) if step.path in chosen else ()
    return replace(step, children=inside)
