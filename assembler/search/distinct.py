"""The distinct architectures of a space: how many there are, and drawn so that each is as likely as any other.

Many choices can make one graph; on the encoding of NAS-Bench-101 most do.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from assembler.errors import RecipeError
from assembler.recipe.choices import Choice, Space

ENUMERATED = 20_000
_DRAWS = 1_000
_FIRST = 20  # so many choices tell how long all of them would take


class Distinct:
    """Draws choices by the architectures that they make, told apart by `fingerprint`.

    Where no more than `most` choices meet the constraints on decisions they are all looked at once, and every
    architecture is equally likely. In a larger space choices are drawn uniformly and one that makes an architecture
    drawn before is drawn anew: none comes twice, but those that many choices make come earlier.
    """

    def __init__(self, space: Space, fingerprint: Callable[[Choice], str], most: int = ENUMERATED) -> None:
        self.space = space
        self._fingerprint = fingerprint
        self._drawn: set[str] = set()
        count = space.count(most)
        self.exact = count is not None and count <= most
        self._table = list(self._classes().values()) if self.exact else []

    @property
    def count(self) -> int | None:
        """How many architectures there are; None where that is not known."""
        return len(self._table) if self.exact else None

    @property
    def guarantee(self) -> str:
        """What draws are, in words."""
        if self.exact:
            return f"each of {len(self._table):,} architectures is equally likely in every draw"
        return "no architecture is drawn twice; those that many choices make come earlier than others"

    def sample(self, rng: random.Random) -> Choice | None:
        """A choice; None where nothing new was found in a thousand draws of a space too large to be looked through."""
        if self.exact:
            return dict(rng.choice(self._table)) if self._table else None
        for _ in range(_DRAWS):
            choice = self.space.uniform(rng)
            key = self._key(choice)
            if key and key not in self._drawn:
                self._drawn.add(key)
                return choice
        return None

    def _classes(self) -> dict[str, Choice]:
        """The first choice of each architecture."""
        found: dict[str, Choice] = {}
        for choice in self.space.every():
            if key := self._key(choice):
                found.setdefault(key, choice)
        return found

    def _key(self, choice: Choice) -> str:
        try:
            return self._fingerprint(choice)
        except RecipeError:  # a choice that cannot be built is no architecture
            return ""


def architectures(space: Space, fingerprint: Callable[[Choice], str], seconds: float = 3.0) -> int | None:
    """How many distinct architectures a space has, if they can all be looked at in so many seconds."""
    if space.size is None:
        return None
    start, found = time.monotonic(), set[str]()
    for number, choice in enumerate(space.every()):
        taken = time.monotonic() - start
        if taken > seconds or (number == _FIRST and taken / _FIRST * (space.count() or 0) > 2 * seconds):
            return None
        try:
            found.add(fingerprint(choice))
        except RecipeError:
            continue
    return len(found)
