"""What every sampler keeps to."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from assembler.recipe.choices import Choice, Space
from assembler.search import Additive, Sampler, SearchSpec, make
from assembler.testing.spaces import FLAT, OBJECTIVES, SPACES


class SamplerContract:
    """What every sampler keeps to. `name` is the sampler's, `options` its options.

    `spaces` names those of `assembler.testing.spaces.SPACES` that it can search: "flat" (slots of equal variants),
    "nested" (choices inside candidates), "numbers" (whole ones and floats), "many" (several picks, orders). In each it
    has to find, in `budget` choices, one that scores `reach` or more; the best scores 1.

    >>> class TestMine(SamplerContract):
    ...     name = "mine"
    ...     options: ClassVar = {"population": 10}
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    spaces: ClassVar[tuple[str, ...]] = ("flat", "nested", "numbers", "many")
    budget: ClassVar[int] = 40
    reach: ClassVar[float] = 0.65

    def sampler(self, space: Space, seed: int = 0) -> Sampler:
        """A fresh sampler of the space."""
        return make({"name": self.name, **self.options}, SearchSpec(space, seed=seed, additive=self.additive(space)))

    def additive(self, space: Space) -> Additive | None:
        """The additive scores that the sampler is given."""
        return None

    def asked(self, space_name: str, count: int, seed: int = 0) -> list[Choice]:
        """The first `count` choices, each told its value, or all there are."""
        sampler, found = self.sampler(SPACES[space_name], seed), list[Choice]()
        while len(found) < count and (choice := sampler.ask()) is not None:
            found.append(choice)
            sampler.tell(choice, (OBJECTIVES[space_name](choice),))
        return found

    def test_choices_are_valid_and_only_active_decisions_are_made(self) -> None:
        for name in self.spaces:
            choices = self.asked(name, 30)
            assert choices, f"it asks for no choice of '{name}'"
            for choice in choices:
                SPACES[name].check(choice)
                assert list(choice) == [d.name for d in SPACES[name].active(choice)], (
                    f"the order is another in {choice}"
                )

    def test_a_seed_decides_the_choices(self) -> None:
        for name in self.spaces:
            assert self.asked(name, 15, seed=3) == self.asked(name, 15, seed=3), f"two runs on '{name}' differ"

    def test_finds_a_good_choice(self) -> None:
        for name in self.spaces:
            scores = [OBJECTIVES[name](choice) for choice in self.asked(name, self.budget)]
            assert max(scores) >= self.reach, f"the best of {len(scores)} choices of '{name}' scores {max(scores):.2f}"

    def test_goes_on_when_nothing_has_a_value(self) -> None:
        for name in self.spaces:
            sampler = self.sampler(SPACES[name])
            for _ in range(30):
                choice = sampler.ask()
                if choice is None:
                    break
                SPACES[name].check(choice)
                sampler.tell(choice, None)

    def test_a_choice_is_made_from_one_that_was_told(self) -> None:
        for name in self.spaces:
            sampler, told = self.sampler(SPACES[name]), list[Choice]()
            for _ in range(self.budget):
                choice = sampler.ask()
                if choice is None:
                    break
                parent = sampler.parent(choice)
                assert parent is None or parent in told, f"a parent in '{name}' was never told: {parent}"
                origin = sampler.origin(choice)
                assert parent is None or origin is None, f"a choice in '{name}' has a parent and another origin"
                best = origin.best if origin else None
                assert best is None or best in told, f"the best known one in '{name}' was never told: {best}"
                told.append(choice)
                sampler.tell(choice, (OBJECTIVES[name](choice),))

    def test_takes_choices_that_it_did_not_ask_for(self) -> None:
        for name in self.spaces:
            sampler, rng = self.sampler(SPACES[name]), random.Random(5)
            for _ in range(25):
                choice = SPACES[name].sample(rng)
                sampler.tell(choice, (OBJECTIVES[name](choice),))
            self.is_sound(name, sampler.ask())

    def test_several_choices_may_be_open_at_once(self) -> None:
        for name in self.spaces:
            sampler = self.sampler(SPACES[name])
            open_ = [c for c in (sampler.ask() for _ in range(6)) if c is not None]
            for choice in reversed(open_):
                sampler.tell(choice, (OBJECTIVES[name](choice),))
            self.is_sound(name, sampler.ask())

    def is_sound(self, name: str, choice: Choice | None) -> None:
        """Raise RecipeError for a choice that the space does not have; None, the end of a search, is sound."""
        if choice is not None:
            SPACES[name].check(choice)

    def test_asking_after_the_last_choice_gives_none_or_a_valid_choice(self) -> None:
        sampler = self.sampler(FLAT)
        for _ in range((FLAT.size or 0) + 5):
            choice = sampler.ask()
            if choice is None:
                assert sampler.ask() is None, "it goes on after it has ended"
                return
            FLAT.check(choice)
            sampler.tell(choice, (0.0,))
