"""What every sampler keeps to: subclass in a pytest file, set `name` (and `options`), inherit the tests."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from search_spaces import FLAT, OBJECTIVES, SPACES

from assembler.recipe.choices import Choice, Space
from assembler.search import Additive, Sampler, SearchSpec, make


class SamplerContract:
    """`spaces` names those of `SPACES` that the sampler can search; `budget` is how many choices it gets to find one
    that scores at least `reach`."""

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
        sampler, found = self.sampler(SPACES[space_name], seed), []
        while len(found) < count and (choice := sampler.ask()) is not None:
            found.append(choice)
            sampler.tell(choice, (OBJECTIVES[space_name](choice),))
        return found

    @pytest.fixture(params=list(SPACES))
    def space(self, request: pytest.FixtureRequest) -> str:
        if request.param not in self.spaces:
            pytest.skip(f"{self.name} does not search it")
        return str(request.param)

    def test_choices_are_valid_and_only_active_decisions_are_made(self, space: str) -> None:
        choices = self.asked(space, 30)
        assert choices
        for choice in choices:
            SPACES[space].check(choice)
            assert list(choice) == [d.name for d in SPACES[space].active(choice)]

    def test_a_seed_decides_the_choices(self, space: str) -> None:
        assert self.asked(space, 15, seed=3) == self.asked(space, 15, seed=3)

    def test_finds_a_good_choice(self, space: str) -> None:
        scores = [OBJECTIVES[space](choice) for choice in self.asked(space, self.budget)]
        assert max(scores) >= self.reach > min(scores)

    def test_goes_on_when_nothing_has_a_value(self, space: str) -> None:
        sampler = self.sampler(SPACES[space])
        for _ in range(30):
            choice = sampler.ask()
            if choice is None:
                break
            SPACES[space].check(choice)
            sampler.tell(choice, None)

    def test_takes_choices_that_it_did_not_ask_for(self, space: str) -> None:
        sampler, rng = self.sampler(SPACES[space]), random.Random(5)
        for _ in range(25):
            choice = SPACES[space].sample(rng)
            sampler.tell(choice, (OBJECTIVES[space](choice),))
        choice_or_none = sampler.ask()
        assert choice_or_none is None or SPACES[space].check(choice_or_none) is None

    def test_several_choices_may_be_open_at_once(self, space: str) -> None:
        sampler = self.sampler(SPACES[space])
        open_ = [c for c in (sampler.ask() for _ in range(6)) if c is not None]
        for choice in reversed(open_):
            sampler.tell(choice, (OBJECTIVES[space](choice),))
        again = sampler.ask()
        assert again is None or SPACES[space].check(again) is None

    def test_asking_after_the_last_choice_gives_none_or_a_valid_choice(self) -> None:
        sampler = self.sampler(FLAT)
        for _ in range((FLAT.size or 0) + 5):
            choice = sampler.ask()
            if choice is None:
                assert sampler.ask() is None
                return
            FLAT.check(choice)
            sampler.tell(choice, (0.0,))
