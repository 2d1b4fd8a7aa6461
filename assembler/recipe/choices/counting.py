"""The tree that decisions form: which candidate opens which decisions, how many choices lie below, exact draws."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from assembler.recipe.choices.decision import At, Choice, Condition, Decision, Pick

P = TypeVar("P", Pick, Pick | None)


class Tree:
    """Decisions by what opens them. Weights count choices; a float, and the moves of a graph, count as one."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self.by_name = {d.name: d for d in decisions}
        self.roots = [d for d in decisions if not d.when]
        self.children: dict[Condition, list[Decision]] = {}
        for d in decisions:
            if d.when:
                self.children.setdefault(d.when[-1], []).append(d)
        self._parents = {name for name, _ in self.children}
        self._weights: dict[str, int] = {}
        self._tables: dict[str, list[list[int]]] = {}

    @property
    def total(self) -> int:
        """How many choices there are."""
        return math.prod(map(self.weight, self.roots))

    def under(self, d: Decision, pick: Pick | None) -> list[Decision]:
        """The decisions that a pick opens, in order."""
        if d.name not in self._parents or pick is None:
            return []
        if isinstance(pick, tuple):
            return [c for p, i in enumerate(pick) for c in self.children.get((d.name, At(p, i)), ())]
        return self.children.get((d.name, int(pick)), [])

    def opened_by(self, d: Decision, candidate: int) -> list[Decision]:
        """The decisions that a candidate opens; of several picks, those of the first position that it can have."""
        where = candidate if d.kind == "oneof" else At(self._where(d, candidate), candidate)
        return self.children.get((d.name, where), [])

    def walk(self, pick: Callable[[Decision], P]) -> Iterator[tuple[Decision, P]]:
        """Every decision that is open, in order, with its pick."""
        waiting = self.roots[::-1]
        while waiting:
            d = waiting.pop()
            picked = pick(d)
            yield d, picked
            if d.name in self._parents:
                waiting += reversed(self.under(d, picked))

    # -- counting ----------------------------------------------------------------------------------------------------

    def weight(self, d: Decision) -> int:
        """How many choices there are of a decision and of all that it opens."""
        if d.name not in self._weights:
            self._weights[d.name] = self._weigh(d)
        return self._weights[d.name]

    def _weigh(self, d: Decision) -> int:
        if d.name not in self._parents:
            return 1 if d.size is None else d.size
        if d.kind == "oneof":
            return sum(self.below(d))
        if d.sorted:
            return sum(self._table(d)[0])
        if d.kind == "manyof" and not d.distinct:
            return int(sum(self.below(d)) ** d.k)
        return math.factorial(d.positions) * sum(self._table(d)[0])

    def below(self, d: Decision) -> list[int]:
        """For every candidate, how many choices there are of what it opens; of several picks, at each position."""
        return [math.prod(map(self.weight, self.opened_by(d, c))) for c in range(len(d.labels))]

    @staticmethod
    def _where(d: Decision, candidate: int) -> int:
        """A position that the candidate can have; it opens the same decisions at each."""
        return next(p for p in range(d.positions) if d.reaches(p, candidate))

    def _table(self, d: Decision) -> list[list[int]]:
        """How many choices of rising picks have candidate c at position p, counting from p on: table[p][c]."""
        if d.name not in self._tables:
            below, n, step = self.below(d), len(d.labels), int(d.distinct or d.kind == "permutate")
            rows: list[list[int]] = []
            after = [1] * (n + 2)  # after[c]: how many there are from the next position on, with candidates >= c
            for _ in range(d.positions):
                row = [below[c] * after[c + step] for c in range(n)]
                rows.append(row)
                sums = list(itertools.accumulate(reversed(row)))[::-1]
                after = [*sums, 0, 0]
            self._tables[d.name] = rows[::-1]
        return self._tables[d.name]

    # -- drawing -----------------------------------------------------------------------------------------------------

    def draw(self, d: Decision, rng: random.Random) -> Pick:
        """A pick of a decision, likely by how many choices lie below it."""
        if d.name not in self._parents:
            return d.sample(rng)
        if d.kind == "oneof":
            return _weighted(self.below(d), rng)
        if d.kind == "manyof" and not d.distinct and not d.sorted:
            below = self.below(d)
            return tuple(_weighted(below, rng) for _ in range(d.k))
        picks, least, step = [], 0, int(d.distinct or d.kind == "permutate")
        for row in self._table(d):
            picks.append(_weighted([0] * least + row[least:], rng))
            least = picks[-1] + step
        if not d.sorted:
            rng.shuffle(picks)
        return tuple(picks)

    def every(self, steps: int = 5) -> Iterator[Choice]:
        """Every choice, the last decision changing fastest; floats at `steps` values."""
        open_: list[tuple[Decision, Iterator[Pick], list[Decision]]] = []
        waiting, choice = self.roots[::-1], Choice()
        while True:
            if waiting:
                d = waiting.pop()
                open_.append((d, values(d, steps), waiting))
            else:
                yield dict(choice)
            while open_:
                d, left, rest = open_[-1]
                pick = next(left, None)
                if pick is not None:
                    choice[d.name] = pick
                    waiting = rest + self.under(d, pick)[::-1]
                    break
                choice.pop(d.name, None)
                open_.pop()
            else:
                return


def values(decision: Decision, steps: int = 5) -> Iterator[Pick]:
    """Every value of a decision, in order; a float gives `steps` values, evenly spaced on its scale; of moves none."""
    n, k = len(decision.labels), decision.k
    match decision.kind:
        case "oneof":
            yield from range(n)
        case "int":
            yield from range(int(decision.low or 0), int(decision.high or 0) + 1)
        case "float":
            yield from _points(decision, steps)
        case "moves":
            yield ()
        case "permutate":
            yield from itertools.permutations(range(n))
        case _ if decision.distinct:
            yield from (itertools.combinations if decision.sorted else itertools.permutations)(range(n), k)
        case _ if decision.sorted:
            yield from itertools.combinations_with_replacement(range(n), k)
        case _:
            yield from itertools.product(range(n), repeat=k)


def _points(decision: Decision, steps: int) -> list[float]:
    low, high = decision.low or 0.0, decision.high or 0.0
    if steps < 2 or low == high:
        return [math.sqrt(low * high) if decision.log else (low + high) / 2]
    if decision.log:
        inner = [low * (high / low) ** (i / (steps - 1)) for i in range(1, steps - 1)]
    else:
        inner = [low + (high - low) * i / (steps - 1) for i in range(1, steps - 1)]
    return [low, *inner, high]


def _weighted(weights: Sequence[int], rng: random.Random) -> int:
    """An index, drawn by whole weights of any size."""
    at = rng.randrange(sum(weights))
    for index, weight in enumerate(weights):
        at -= weight
        if at < 0:
            return index
    raise AssertionError("the weights add up to less than their sum")
