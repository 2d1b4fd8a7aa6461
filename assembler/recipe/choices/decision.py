"""One decision: its candidates, what it may be picked to be, and when it is open at all."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any, Literal

Pick = int | float | tuple[Any, ...]
"""What is picked: a candidate's number, a number in a range, several candidates' numbers, or moves as texts."""
Choice = dict[str, Pick]
Kind = Literal["oneof", "int", "float", "manyof", "permutate", "moves"]

MOVES = "moves"
"""The name of the one decision of that kind: which rewrites are applied to the graph, in order, each as a text."""


@dataclass(frozen=True, slots=True)
class At:
    """A condition on several picks: equal to every pick that has `candidate` at `position`.

    So `choice[name] == condition` reads alike for one candidate of a `$oneof` (a number) and one position of a
    `$manyof`.
    """

    position: int
    candidate: int

    def __eq__(self, other: object) -> bool:
        if isinstance(other, tuple):
            return self.position < len(other) and other[self.position] == self.candidate
        return isinstance(other, At) and (self.position, self.candidate) == (other.position, other.candidate)

    def __hash__(self) -> int:
        return hash((At, self.position, self.candidate))


Condition = tuple[str, int | At]
"""A decision's name, and what its pick must equal."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice to make. `labels` name the candidates of oneof, manyof and permutate; `low` and `high` bound numbers.

    It is active only where `choice[name] == pick` for every (name, pick) in `when`, of which the last is the candidate
    that it stands in. One of kind "moves" has the rewrites that may be applied as its labels, `k` at most, and begins
    with none.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    k: int = 1
    distinct: bool = True
    sorted: bool = False
    when: tuple[Condition, ...] = ()

    @property
    def size(self) -> int | None:
        """How many values it can take; None for a float, and for moves, whose number the graph decides."""
        n = len(self.labels)
        match self.kind:
            case "oneof":
                return n
            case "int":
                return int(self.high or 0) - int(self.low or 0) + 1
            case "float" | "moves":
                return None
            case "permutate":
                return math.factorial(n)
            case "manyof" if self.distinct:
                return math.comb(n, self.k) if self.sorted else math.perm(n, self.k)
            case _:
                return math.comb(n + self.k - 1, self.k) if self.sorted else n**self.k

    @property
    def positions(self) -> int:
        """How many candidates a pick of several holds; 0 where a pick is one value."""
        return {"manyof": self.k, "permutate": len(self.labels)}.get(self.kind, 0)

    @property
    def first(self) -> Pick:
        """The first candidate, or the lower bound; no moves."""
        if self.kind == "moves":
            return ()
        if not self.labels:
            return int(self.low or 0) if self.kind == "int" else float(self.low or 0)
        return 0 if self.kind == "oneof" else self._window(0)

    def spread(self) -> list[Pick]:
        """Picks that between them hold every candidate, or both bounds; the first of them is `first`."""
        if self.kind == "moves":
            return [()]
        if not self.labels:
            return list(
                dict.fromkeys((self.first, int(self.high or 0) if self.kind == "int" else float(self.high or 0)))
            )
        if self.kind == "oneof":
            return list(range(len(self.labels)))
        return list(dict.fromkeys(self._window(start) for start in range(0, len(self.labels), self.k)))

    def holding(self, condition: int | At) -> Pick:
        """A pick under which what depends on `condition` is open."""
        if isinstance(condition, int):
            return condition
        n, p, c = len(self.labels), condition.position, condition.candidate
        if self.sorted:  # its neighbours are as near as can be
            return tuple(c + (i - p if self.distinct else 0) for i in range(self.k))
        return tuple((c + i - p) % n for i in range(self.positions))

    def reaches(self, position: int, candidate: int) -> bool:
        """Whether some pick has the candidate at the position."""
        last = len(self.labels) - self.k + position
        return not (self.sorted and self.distinct) or position <= candidate <= last

    def _window(self, start: int) -> tuple[int, ...]:
        n = len(self.labels)
        picks = [(start + i) % n for i in range(self.k)]
        return tuple(sorted(picks) if self.sorted else picks)

    def sample(self, rng: random.Random) -> Pick:
        """A uniform pick; of moves none."""
        n = len(self.labels)
        match self.kind:
            case "oneof":
                return rng.randrange(n)
            case "int":
                return rng.randint(int(self.low or 0), int(self.high or 0))
            case "float":
                low, high = self.low or 0.0, self.high or 0.0
                return math.exp(rng.uniform(math.log(low), math.log(high))) if self.log else rng.uniform(low, high)
            case "permutate":
                return tuple(rng.sample(range(n), n))
            case "moves":
                return ()
            case _:
                picks = rng.sample(range(n), self.k) if self.distinct else rng.choices(range(n), k=self.k)
                return tuple(sorted(picks) if self.sorted else picks)

    def accepts(self, pick: Pick) -> bool:
        """Whether `pick` is one of its values."""
        n = len(self.labels)
        if self.kind == "oneof":
            return isinstance(pick, int) and 0 <= pick < n
        if self.kind in ("int", "float"):
            whole = self.kind == "float" or isinstance(pick, int)
            return whole and isinstance(pick, int | float) and (self.low or 0) <= pick <= (self.high or 0)
        if self.kind == "moves":
            return isinstance(pick, tuple) and len(pick) <= self.k and all(isinstance(p, str) for p in pick)
        if not isinstance(pick, tuple) or any(not isinstance(p, int) or not 0 <= p < n for p in pick):
            return False
        ordered = not self.sorted or list(pick) == sorted(pick)
        distinct = self.distinct or self.kind == "permutate"
        return len(pick) == self.positions and ordered and (not distinct or len(set(pick)) == len(pick))

    def label(self, pick: Pick) -> str:
        """A pick in words, for tables and logs."""
        if self.kind == "moves":
            return " then ".join(str(p) for p in pick) if isinstance(pick, tuple) and pick else "none"
        if isinstance(pick, tuple):
            return "+".join(self.labels[int(p)] for p in pick)
        return self.labels[int(pick)] if self.kind == "oneof" else f"{pick:g}"
