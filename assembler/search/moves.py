"""What samplers do with choices: freeze, complete, enumerate, mutate, and draw one that was not drawn before."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping

from assembler.recipe.choices import Choice, Decision, Pick, Space

Frozen = tuple[tuple[str, Pick], ...]

_DRAWS = 64  # fruitless random draws before the unseen choices are enumerated instead
_SHUFFLED = 20_000  # spaces up to this size are enumerated in random order


def frozen(choice: Mapping[str, Pick]) -> Frozen:
    """A hashable form of a choice, whatever order it was made in."""
    return tuple(sorted(choice.items()))


def is_active(decision: Decision, choice: Mapping[str, Pick]) -> bool:
    """Whether a decision is open under the picks made so far."""
    return all(choice.get(name) == index for name, index in decision.when)


def complete(space: Space, picks: Mapping[str, Pick], rng: random.Random) -> Choice:
    """A choice that keeps those `picks` that are still active and draws the rest."""
    choice: Choice = {}
    for d in space.decisions:
        if is_active(d, choice):
            choice[d.name] = picks[d.name] if d.name in picks else d.sample(rng)
    return choice


def values(decision: Decision, steps: int = 5) -> Iterator[Pick]:
    """Every value of a decision, in order; a float gives `steps` values, evenly spaced on its scale."""
    n, k = len(decision.labels), decision.k
    match decision.kind:
        case "oneof":
            yield from range(n)
        case "int":
            yield from range(int(decision.low or 0), int(decision.high or 0) + 1)
        case "float":
            yield from _points(decision, steps)
        case "permutate":
            yield from itertools.permutations(range(n))
        case _ if decision.distinct:
            yield from (itertools.combinations if decision.sorted else itertools.permutations)(range(n), k)
        case _ if decision.sorted:
            yield from itertools.combinations_with_replacement(range(n), k)
        case _:
            yield from itertools.product(range(n), repeat=k)


def every(space: Space, steps: int = 5) -> Iterator[Choice]:
    """Every choice of a space in order, the last decision changing fastest; floats at `steps` values."""
    decisions, choice = space.decisions, Choice()
    open_: list[Iterator[Pick]] = []  # one iterator a decision; an inactive one has a single empty turn
    while True:
        if len(open_) == len(decisions):
            yield dict(choice)
        else:
            d = decisions[len(open_)]
            open_.append(values(d, steps) if is_active(d, choice) else iter(()))
            if not is_active(d, choice):
                continue
        while open_:
            name = decisions[len(open_) - 1].name
            pick = next(open_[-1], None)
            if pick is not None:
                choice[name] = pick
                break
            choice.pop(name, None)
            open_.pop()
        else:
            return


def mutate(space: Space, choice: Mapping[str, Pick], rng: random.Random) -> Choice:
    """A choice with one active decision changed; decisions that this opens are drawn, those that it closes go."""
    movable = [d for d in space.decisions if d.name in choice and _movable(d)]
    if not movable:
        return dict(choice)
    d = rng.choice(movable)
    return complete(space, {**choice, d.name: _MOVES[d.kind](d, choice[d.name], rng)}, rng)


class Unseen:
    """Draws choices of a space, never the same twice; None once a finite space has no other left."""

    def __init__(self, space: Space, rng: random.Random) -> None:
        self.space = space
        self.seen: set[Frozen] = set()
        self._rng = rng
        self._rest: Iterator[Choice] | None = None

    def add(self, choice: Mapping[str, Pick]) -> bool:
        """Note a choice as seen; whether it is new."""
        key = frozen(choice)
        new = key not in self.seen
        self.seen.add(key)
        return new

    def draw(self, propose: Callable[[], Choice] | None = None) -> Choice | None:
        """A new choice from `propose` if it comes up with one, else from the whole space."""
        for make in (propose, lambda: self.space.sample(self._rng)):
            for _ in range(_DRAWS if make and self._rest is None else 0):
                choice = make() if make else {}
                if self.add(choice):
                    return choice
        if self.space.size is None:
            return self.space.sample(self._rng)  # only a float that has a single value gets here
        if self._rest is None:
            self._rest = self._remaining()
        return next((c for c in self._rest if self.add(c)), None)

    def _remaining(self) -> Iterator[Choice]:
        if (self.space.size or 0) > _SHUFFLED:
            return every(self.space)
        rest = list(every(self.space))
        self._rng.shuffle(rest)
        return iter(rest)


def _points(decision: Decision, steps: int) -> list[float]:
    low, high = decision.low or 0.0, decision.high or 0.0
    if steps < 2 or low == high:
        return [math.sqrt(low * high) if decision.log else (low + high) / 2]
    if decision.log:
        inner = [low * (high / low) ** (i / (steps - 1)) for i in range(1, steps - 1)]
    else:
        inner = [low + (high - low) * i / (steps - 1) for i in range(1, steps - 1)]
    return [low, *inner, high]


def _movable(d: Decision) -> bool:
    return d.low != d.high if d.kind in ("int", "float") else d.size != 1


def _other(d: Decision, pick: Pick, rng: random.Random) -> int:
    step = rng.randrange(len(d.labels) - 1)
    return step + (step >= int(pick)) if not isinstance(pick, tuple) else step


def _nudge(d: Decision, pick: Pick, rng: random.Random) -> float:
    """A Gaussian step of a tenth of the range, on the decision's own scale, kept inside."""
    assert isinstance(pick, int | float) and d.low is not None and d.high is not None
    if not d.log:
        return min(max(rng.gauss(pick, (d.high - d.low) / 10), d.low), d.high)
    spread = math.log(d.high / d.low) / 10
    return min(max(pick * math.exp(rng.gauss(0.0, spread)), d.low), d.high)


def _step(d: Decision, pick: Pick, rng: random.Random) -> int:
    assert isinstance(pick, int)
    near = round(_nudge(d, pick, rng))
    if near != pick:
        return near
    return pick + (rng.choice((-1, 1)) if d.low != pick != d.high else 1 if pick == d.low else -1)


def _swap(d: Decision, pick: Pick, rng: random.Random) -> tuple[int, ...]:
    assert isinstance(pick, tuple)
    moved, (i, j) = list(pick), rng.sample(range(len(pick)), 2)
    moved[i], moved[j] = moved[j], moved[i]
    return tuple(moved)


def _exchange(d: Decision, pick: Pick, rng: random.Random) -> tuple[int, ...]:
    assert isinstance(pick, tuple)
    at = rng.randrange(len(pick))
    taken = set(pick) if d.distinct else {pick[at]}
    free = [i for i in range(len(d.labels)) if i not in taken]
    if not free:
        return _swap(d, pick, rng)
    moved = (*pick[:at], rng.choice(free), *pick[at + 1 :])
    return tuple(sorted(moved)) if d.sorted else moved


_MOVES: dict[str, Callable[[Decision, Pick, random.Random], Pick]] = {
    "oneof": _other,
    "int": _step,
    "float": _nudge,
    "permutate": _swap,
    "manyof": _exchange,
}
