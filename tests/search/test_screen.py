"""Screens: who passes, who is told what, and that a predictor learns from the trials."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import pytest

from assembler.errors import RecipeError
from assembler.recipe.choices import Choice, Pick
from assembler.search import SearchSpec, Values, make, run
from assembler.search.first import First
from assembler.search.moves import frozen
from assembler.search.predictor import Predictor
from assembler.search.samplers import Sampler
from assembler.search.screen import ByScore, Screen
from assembler.search.screenspec import ScreenSpec
from assembler.testing.spaces import FLAT, NESTED, flat, nested


class Told(Sampler):
    """Passes on what a random sampler asks, and keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(SearchSpec(FLAT))
        self.inner = make("random", self.spec)
        self.told: dict[object, Values | None] = {}

    def ask(self) -> Choice | None:
        return self.inner.ask()

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self.told[frozen(choice)] = values


def test_the_best_of_each_round_pass_in_order_and_the_rest_has_no_value() -> None:
    inner = Told()
    screen = Screen(inner, ByScore(flat), 0.25, 12)
    passed = [screen.ask() for _ in range(3)]
    scores = [flat(c) for c in passed if c]
    assert scores == sorted(scores, reverse=True) and screen.refused == 9
    assert len(inner.told) == 9 and set(inner.told.values()) == {None}
    rest = [sum(int(str(v)) for _, v in key) / 8 for key in inner.told]  # type: ignore[attr-defined]
    assert max(rest) <= min(scores)
    screen.ask()
    assert screen.refused == 18


def test_what_has_no_score_goes_through_to_the_study() -> None:
    screen = Screen(Told(), ByScore(lambda c: None if c["stage.0"] == 0 else flat(c)), 0.5, 10)
    study = run(FLAT, flat, screen, 8, where=lambda c, costs: "stage.0 is 0" if c["stage.0"] == 0 else "")
    assert {t.reason for t in study.trials if t.state == "infeasible"} == {"stage.0 is 0"}
    assert study.evaluated == 8


def test_a_screened_search_beats_the_bare_one() -> None:
    def mean(sampler: Sampler) -> float:
        values = [t.value for t in run(FLAT, flat, sampler, 6).trials if t.value is not None]
        return sum(values) / len(values)

    bare = make("random", SearchSpec(FLAT, seed=1))
    assert mean(Screen(make("random", SearchSpec(FLAT, seed=1)), ByScore(flat), 0.1, 30)) > mean(bare)


def test_a_predictor_lets_all_pass_until_it_knows_ten_and_then_ranks() -> None:
    predictor, rng = Predictor(NESTED), random.Random(0)
    seen = [NESTED.sample(rng) for _ in range(40)]
    for choice in seen[:9]:
        predictor.tell(choice, (nested(choice),))
    distinct = len({frozen(c) for c in seen[:9]})
    assert distinct < 10 and predictor.score(seen[0]) == math.inf
    for choice in seen:
        predictor.tell(choice, (nested(choice),))
    every = list(NESTED.every())
    scores = {frozen(c): predictor.score(c) for c in every}
    ranked = sorted(every, key=lambda c: -(scores[frozen(c)] or 0.0))
    assert nested(ranked[0]) == max(map(nested, every))
    assert nested(ranked[-1]) < nested(ranked[0])


def test_a_predictor_does_not_score_what_does_not_fit() -> None:
    assert Predictor(FLAT, fits=lambda choice: False).score(FLAT.first) is None


def test_some_choices_are_asked_for_first_unless_they_are_known() -> None:
    wanted = [dict.fromkeys((d.name for d in FLAT.decisions), v) for v in (2, 1)]
    sampler = First(make("random", SearchSpec(FLAT)), wanted)  # type: ignore[arg-type]
    sampler.tell(wanted[0], (1.0,))
    assert sampler.ask() == wanted[1]
    assert sampler.ask() not in (None, *wanted)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"by": "snip", "keep": 1.5}, "'keep' of a screen is a share above 0 and up to 1, not 1.5"),
        ({"by": "snip", "of": 0}, "'of' of a screen counts candidates, at least 1, not 0"),
        ({"by": "snip", "batch": 1}, "'batch' of a screen needs at least 2 samples, not 1"),
        ({"keep": 0.5}, "'screen' needs 'by'"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        ScreenSpec.from_spec(given)
    assert said in str(caught.value)
