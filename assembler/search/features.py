"""Choices and their architectures as vectors for models of what they are worth.

A vector falls into groups, about one a decision and one for the graph, which a kernel weighs one by one.
"""

from __future__ import annotations

import functools
import itertools
import math
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from assembler.graph import Graph
from assembler.recipe.choices import Choice, Decision, Pick, Space

Array = NDArray[np.float64]

_HASHED = 256  # columns of what has no fixed number of values
_MOST_PATHS = 512  # graphs with more paths from inputs to outputs are described by pieces of three steps
_FEW = 8  # candidates up to so many are counted one by one
_PAIRS = 16  # permutations up to this length are described by which of two comes first
_CLEAR = ("identity", "dropout", "item", "add", "switch")
"""Ops that a path runs through as if they were not there."""


class Encoder:
    """Vectors of the choices of a space; with `graph` what the architecture says is added to what the choice says."""

    def __init__(self, space: Space, graph: Callable[[Choice], Graph] | None = None) -> None:
        self._graph = graph
        self._parts: list[tuple[Decision, int, Callable[[Pick], Array]]] = []
        widths: list[int] = []
        for d in space.decisions:
            for width, encode in _encoders(d):
                self._parts.append((d, sum(widths), encode))
                widths.append(width)
        self._alike = _alike(space)
        for _, labels in self._alike:
            widths += [1] * labels if labels <= _FEW else [labels]
        self._start = sum(widths)
        widths += [_HASHED] if graph else []
        self.width = sum(widths)
        self.groups: NDArray[np.intp] = np.repeat(np.arange(len(widths)), widths)
        """The group of every column."""

    def vector(self, choice: Mapping[str, Pick]) -> Array:
        """The vector of a choice. Raises what `graph` raises."""
        found = np.zeros(self.width)
        for d, start, encode in self._parts:
            if d.name in choice:
                made = encode(choice[d.name])
                found[start : start + len(made)] = made
        at = self._start
        for names, labels in reversed(self._alike):
            at -= labels
            picks = [pick for name in names if isinstance(pick := choice.get(name), int)]
            found[at : at + labels] = np.bincount(picks, minlength=labels)
        if self._graph:
            found[self._start :] = paths(self._graph(dict(choice)))
        return found


@dataclass(frozen=True)
class _Named:
    """A graph that is known by its fingerprint, which it remembers."""

    fingerprint: str
    graph: Graph = field(compare=False)


def paths(graph: Graph) -> Array:
    """How often each sequence of ops leads from an input to an output, hashed to 256 columns.

    Paths through `zero` carry nothing and are left out; steps that only pass on or sum up are left out of a path. Of
    graphs with more than 512 paths, sequences of three steps are counted instead. Columns are square roots of counts.
    """
    return _paths(_Named(graph.fingerprint, graph))


@functools.lru_cache(maxsize=65536)
def _paths(named: _Named) -> Array:
    graph = named.graph
    steps = {name: f"in {kind.dtype}" for name, kind in graph.inputs}
    sources: dict[str, tuple[str, ...]] = dict.fromkeys(steps, ())
    for name, node in graph.nodes.items():
        words = ", ".join(f"{key}={value}" for key, value in node.args)
        steps[name] = "" if node.op in _CLEAR else f"{node.op}({words})"
        sources[name] = () if node.op == "zero" else node.sources
    ends = [source for _, source in graph.outputs]
    counted = _whole(steps, sources, ends)
    if counted is None:
        counted = _pieces(steps, sources)
    found = np.zeros(_HASHED)
    for words_, count in counted.items():
        found[zlib.crc32("\n".join(words_).encode()) % _HASHED] += count
    found = np.sqrt(found)
    found.flags.writeable = False
    return found


Paths = Counter[tuple[str, ...]]


def _whole(steps: Mapping[str, str], sources: Mapping[str, Sequence[str]], ends: Sequence[str]) -> Paths | None:
    """Every path from an input to an output, or None where there are too many."""
    reaching: dict[str, Paths] = {}
    for name, step in steps.items():
        before: Paths = Counter() if sources[name] or not step.startswith("in ") else Counter({(): 1})
        for source in sources[name]:
            before.update(reaching[source])
        reaching[name] = Counter({(*path, step) if step else path: n for path, n in before.items()})
        if sum(reaching[name].values()) > _MOST_PATHS:
            return None
    return sum((reaching[end] for end in ends), Counter())


def _pieces(steps: Mapping[str, str], sources: Mapping[str, Sequence[str]]) -> Paths:
    """Sequences of up to three steps that follow on one another, clear steps skipped."""
    reaching: dict[str, set[tuple[str, ...]]] = {}
    found: Paths = Counter()
    for name, step in steps.items():
        before = set(itertools.chain.from_iterable(reaching[source] for source in sources[name])) or {()}
        if step:
            full = {(*path, step) for path in before}
            found.update(full)
            before = {path[-2:] for path in full}
        reaching[name] = before
    return found


def _alike(space: Space) -> list[tuple[list[str], int]]:
    """The names of decisions between the same candidates, where there are several, and how many candidates.

    How often one is picked in all may matter more than where.
    """
    names: dict[tuple[str, ...], list[str]] = {}
    for d in space.decisions:
        if d.kind == "oneof":
            names.setdefault(d.labels, []).append(d.name)
    return [(found, len(labels)) for labels, found in names.items() if len(found) > 1]


# -- decisions ---------------------------------------------------------------------------------------------------------


def _encoders(d: Decision) -> list[tuple[int, Callable[[Pick], Array]]]:
    """(width, encoder) of every group that a decision has."""
    n = len(d.labels)
    match d.kind:
        case "oneof":
            eye = np.eye(n) / math.sqrt(2)
            found: list[tuple[int, Callable[[Pick], Array]]] = [(n, lambda pick: eye[_whole_number(pick)])]
            numbers = _numbers(d.labels)
            if numbers is not None:
                found.append((1, lambda pick: numbers[_whole_number(pick)]))
            return found
        case "int" | "float":
            return [(2, functools.partial(_scaled, d))]
        case "permutate" if n <= _PAIRS:
            return [(n * (n - 1) // 2, _order)]
        case "permutate":
            return [(n, lambda pick: np.argsort(_several(pick)) / n)]
        case "moves":
            return [(_HASHED, _words)]
        case _:
            sets = (n, functools.partial(_counts, n))
            placed = (n * d.k, functools.partial(_placed, n))
            return [sets] if d.sorted else [sets, placed]


def _numbers(labels: Sequence[str]) -> Array | None:
    """Where on a scale from 0 to 1 each of at least three candidates that are numbers stands, by order; else None."""
    try:
        values = [float(label) for label in labels]
    except ValueError:
        return None
    ranks = np.argsort(np.argsort(values))
    return (ranks / (len(values) - 1)).reshape(-1, 1) if len(values) > 2 else None


def _scaled(d: Decision, pick: Pick) -> Array:
    """Where in its range a number lies, on its own scale, and that it is there at all."""
    assert isinstance(pick, int | float) and d.low is not None and d.high is not None
    if d.low == d.high:
        return np.array([0.0, 0.5])
    if d.log:
        return np.array([2 * math.log(pick / d.low) / math.log(d.high / d.low), 0.5])
    return np.array([2 * (pick - d.low) / (d.high - d.low), 0.5])


def _order(pick: Pick) -> Array:
    place = np.argsort(_several(pick))
    i, j = np.triu_indices(len(place), 1)
    return (place[i] < place[j]) / math.sqrt(max(1, len(i)))


def _counts(n: int, pick: Pick) -> Array:
    picks = _several(pick)
    return np.bincount(picks, minlength=n) / math.sqrt(2 * len(picks))


def _placed(n: int, pick: Pick) -> Array:
    picks = _several(pick)
    return (np.eye(n)[picks] / math.sqrt(2 * len(picks))).reshape(-1)


def _words(pick: Pick) -> Array:
    found = np.zeros(_HASHED)
    for word in pick if isinstance(pick, tuple) else ():
        found[zlib.crc32(str(word).encode()) % _HASHED] += 1
    return found / math.sqrt(2)


def _several(pick: Pick) -> NDArray[np.intp]:
    return np.asarray(pick, dtype=np.intp)


def _whole_number(pick: Pick) -> int:
    assert isinstance(pick, int)
    return pick
