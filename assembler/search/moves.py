"""What samplers do with choices: freeze, complete, mutate, list neighbours, and draw one that was not drawn before."""

from __future__ import annotations

import itertools
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
    return space.made(lambda d: picks[d.name] if d.name in picks else d.sample(rng))


def every(space: Space, steps: int = 5) -> Iterator[Choice]:
    """Every choice of a space in order, the last decision changing fastest; floats at `steps` values."""
    return space.every(steps)


def mutate(space: Space, choice: Mapping[str, Pick], rng: random.Random) -> Choice:
    """A choice with one active decision changed; decisions that this opens are drawn, those that it closes go."""
    movable = [d for d in space.decisions if d.name in choice and _movable(d)]
    if not movable:
        return dict(choice)
    d = rng.choice(movable)
    return complete(space, {**choice, d.name: _MOVES[d.kind](d, choice[d.name], rng)}, rng)


def neighbours(space: Space, choice: Mapping[str, Pick], rng: random.Random) -> Iterator[Choice]:
    """The choices one change away: every other candidate, swap or exchange, the next numbers up and down.

    What a change opens is drawn; those that break a constraint on decisions are left out.
    """
    for d in space.decisions:
        for near in varied(space, choice, d, rng):
            if not space.where or not space.refusal(near):
                yield near


def varied(space: Space, choice: Mapping[str, Pick], d: Decision, rng: random.Random) -> Iterator[Choice]:
    """The choices in which one decision is made otherwise; what that opens is drawn."""
    if d.name in choice and _movable(d):
        for pick in _others(d, choice[d.name]):
            yield complete(space, {**choice, d.name: pick}, rng)


class Unseen:
    """Draws choices that meet the constraints on decisions, never the same twice; None where none is left."""

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
                if self._fits(choice) and self.add(choice):
                    return choice
        if self.space.size is None:
            return self.space.uniform(
                self._rng
            )  # a float that has a single value, or constraints that few choices meet
        if self._rest is None:
            self._rest = self._remaining()
        return next((c for c in self._rest if self.add(c)), None)

    def _fits(self, choice: Choice) -> bool:
        return not self.space.where or not self.space.refusal(choice)

    def _remaining(self) -> Iterator[Choice]:
        if (self.space.size or 0) > _SHUFFLED:
            return every(self.space)
        rest = list(every(self.space))
        self._rng.shuffle(rest)
        return iter(rest)


def _movable(d: Decision) -> bool:
    if d.kind == "moves":  # what rewrites there are only the graph knows
        return False
    return d.low != d.high if d.kind in ("int", "float") else d.size != 1


def _others(d: Decision, pick: Pick) -> Iterator[Pick]:
    match d.kind:
        case "oneof":
            yield from (i for i in range(len(d.labels)) if i != pick)
        case "int":
            yield from _steps(d, pick)
        case "float":
            yield from (_shifted(d, pick, by) for by in (-0.2, -0.05, 0.05, 0.2))
        case "permutate":
            yield from (_swapped(pick, i, j) for i, j in itertools.combinations(range(len(d.labels)), 2))
        case _:
            yield from _exchanges(d, pick)


def _steps(d: Decision, pick: Pick) -> Iterator[int]:
    assert isinstance(pick, int)
    near = {pick - 1, pick + 1, *(round(_shifted(d, pick, by)) for by in (-0.2, 0.2))} - {pick}
    yield from sorted(i for i in near if (d.low or 0) <= i <= (d.high or 0))


def _shifted(d: Decision, pick: Pick, by: float) -> float:
    """A number moved by a part of the range, on the decision's own scale, kept inside."""
    assert isinstance(pick, int | float) and d.low is not None and d.high is not None
    moved = pick * (d.high / d.low) ** by if d.log else pick + by * (d.high - d.low)
    return min(max(moved, d.low), d.high)


def _swapped(pick: Pick, i: int, j: int) -> tuple[int, ...]:
    assert isinstance(pick, tuple)
    moved = list(pick)
    moved[i], moved[j] = moved[j], moved[i]
    return tuple(moved)


def _exchanges(d: Decision, pick: Pick) -> Iterator[tuple[int, ...]]:
    assert isinstance(pick, tuple)
    found: dict[tuple[int, ...], None] = {}
    for at, new in itertools.product(range(len(pick)), range(len(d.labels))):
        if new == pick[at]:
            continue
        taken = d.distinct and new in pick
        moved = _swapped(pick, at, pick.index(new)) if taken else (*pick[:at], new, *pick[at + 1 :])
        found[tuple(sorted(moved)) if d.sorted else moved] = None
    found.pop(pick, None)
    yield from found


def _other(d: Decision, pick: Pick, rng: random.Random) -> int:
    step = rng.randrange(len(d.labels) - 1)
    return step + (step >= int(pick)) if not isinstance(pick, tuple) else step


def _nudge(d: Decision, pick: Pick, rng: random.Random) -> float:
    """A Gaussian step of a tenth of the range, on the decision's own scale, kept inside."""
    return _shifted(d, pick, rng.gauss(0.0, 0.1))


def _step(d: Decision, pick: Pick, rng: random.Random) -> int:
    assert isinstance(pick, int)
    near = round(_nudge(d, pick, rng))
    if near != pick:
        return near
    return pick + (rng.choice((-1, 1)) if d.low != pick != d.high else 1 if pick == d.low else -1)


def _swap(d: Decision, pick: Pick, rng: random.Random) -> tuple[int, ...]:
    i, j = rng.sample(range(len(d.labels)), 2)
    return _swapped(pick, i, j)


def _exchange(d: Decision, pick: Pick, rng: random.Random) -> tuple[int, ...]:
    assert isinstance(pick, tuple)
    at = rng.randrange(len(pick))
    taken = set(pick) if d.distinct else {pick[at]}
    free = [i for i in range(len(d.labels)) if i not in taken]
    if not free:
        return _swapped(pick, *rng.sample(range(len(pick)), 2))
    moved = (*pick[:at], rng.choice(free), *pick[at + 1 :])
    return tuple(sorted(moved)) if d.sorted else moved


_MOVES: dict[str, Callable[[Decision, Pick, random.Random], Pick]] = {
    "oneof": _other,
    "int": _step,
    "float": _nudge,
    "permutate": _swap,
    "manyof": _exchange,
}
