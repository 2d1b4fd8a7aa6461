"""A choice as a path in a tree of small steps, for searches that count visits.

A number, and a candidate where all candidates are numbers, is found by halving its range, so that what is learnt of one
value says something of those near it (Negrinho and Gordon 2017, arXiv:1704.08792); other candidates are one step, and
several picks one step each.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping

from assembler.recipe.choices import Choice, Decision, Pick, Space

Step = tuple[str, int]
"""A decision and which branch is taken."""

_HALVINGS = 6  # of a float's range, within which it is drawn then


def descend(space: Space, pick: Callable[[str, list[int]], int], rng: random.Random) -> Choice:
    """The choice to which `pick` leads, which is given a decision's name and the branches that are open."""

    def made(d: Decision) -> Pick:
        taken: list[int] = []
        while branches := _open(d, taken):
            taken.append(pick(d.name, branches) if len(branches) > 1 else branches[0])
        return _end(d, taken, rng)

    return space.made(made)


def trail(space: Space, choice: Mapping[str, Pick]) -> Iterator[Step]:
    """The steps that lead to a choice, where there was more than one branch."""
    for d in space.decisions:
        if d.name in choice:
            taken: list[int] = []
            while branches := _open(d, taken):
                taken.append(_towards(d, taken, choice[d.name]))
                if len(branches) > 1:
                    yield d.name, taken[-1]


def _open(d: Decision, taken: list[int]) -> list[int]:
    """The branches behind those taken; none where the pick is made."""
    n = len(d.labels)
    if d.kind == "moves":
        return []
    if d.kind == "float":
        return [0, 1] if len(taken) < _HALVINGS and d.low != d.high else []
    if d.kind == "int" or _order(d):
        low, high = _range(d, taken)
        return [0, 1] if low < high else []
    if len(taken) == (d.positions or 1):
        return []
    if d.kind == "oneof" or not (d.distinct or d.kind == "permutate" or d.sorted):
        return list(range(n))
    if not d.sorted:
        return [i for i in range(n) if i not in taken]
    first = taken[-1] + d.distinct if taken else 0
    last = n - (d.positions - len(taken)) * d.distinct
    return list(range(first, last + 1 if d.distinct else n))


def _end(d: Decision, taken: list[int], rng: random.Random) -> Pick:
    """The pick at the end of the branches taken; of a float one in what is left of its range."""
    if d.kind == "moves":
        return ()
    if d.kind == "float":
        low = sum(branch / 2 ** (i + 1) for i, branch in enumerate(taken))
        part = low + rng.random() / 2 ** len(taken)
        first, last = d.low or 0.0, d.high or 0.0
        value: float = first * (last / first) ** part if d.log else first + part * (last - first)
        return min(value, last)
    order = _order(d)
    if d.kind == "int":
        return int(d.low or 0) + _range(d, taken)[0]
    if order:
        return order[_range(d, taken)[0]]
    return taken[0] if d.kind == "oneof" else tuple(taken)


def _towards(d: Decision, taken: list[int], pick: Pick) -> int:
    if isinstance(pick, tuple):
        return int(pick[len(taken)])
    if d.kind == "float":
        first, last = d.low or 0.0, d.high or 0.0
        part = math.log(pick / first) / math.log(last / first) if d.log else (pick - first) / (last - first)
        halves: int = 2 ** (len(taken) + 1)
        return min(int(part * halves), halves - 1) % 2
    order = _order(d)
    if d.kind == "oneof" and not order:
        return int(pick)
    low, high = _range(d, taken)
    at = order.index(int(pick)) if order else int(pick) - int(d.low or 0)
    return int(at > (low + high) // 2)


def _range(d: Decision, taken: list[int]) -> tuple[int, int]:
    """The first and the last place, on the scale of a whole number or of ordered candidates, that is left."""
    low, high = 0, (d.size or 1) - 1
    for branch in taken:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if branch else (low, middle)
    return low, high


def _order(d: Decision) -> list[int]:
    """The candidates of a `$oneof` in the order of the numbers that they are; none where they are something else."""
    if d.kind != "oneof" or len(d.labels) < 3:
        return []
    try:
        values = [float(label) for label in d.labels]
    except ValueError:
        return []
    return sorted(range(len(values)), key=values.__getitem__)
