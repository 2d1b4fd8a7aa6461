"""Samplers tell what they made a choice from: a parent, or the values of others."""

from __future__ import annotations

from typing import Any

import pytest

from assembler.recipe.choices import Choice
from assembler.search import Sampler, SearchSpec, make
from assembler.search.first import First
from assembler.search.screen import ByScore, Screen
from assembler.testing.spaces import FLAT, OBJECTIVES, SPACES

EVOLUTION = {"name": "evolution", "population_size": 4}
WRAPPERS: tuple[dict[str, Any], ...] = (
    {"name": "repeat", "times": 1},
    {"name": "retry"},
    {"name": "patience", "trials": 99},
    {"name": "distinct"},
)


def told(sampler: Sampler, space: str, count: int) -> list[tuple[Choice, Choice | None]]:
    """Choices that are told their values, each with its parent."""
    found = []
    for _ in range(count):
        choice = sampler.ask()
        assert choice is not None
        found.append((choice, sampler.parent(choice)))
        sampler.tell(choice, (OBJECTIVES[space](choice),))
    return found


def differing(a: Choice, b: Choice) -> list[str]:
    return [name for name in {**a, **b} if a.get(name) != b.get(name)]


def test_pyglove_tells_the_parents_of_its_evolution() -> None:
    sampler = make({"name": "pyglove", "population_size": 5, "tournament_size": 2}, SearchSpec(FLAT, seed=1))
    found = told(sampler, "flat", 30)
    assert all(parent is None for _, parent in found[:5])
    made = [(choice, parent) for choice, parent in found[5:] if parent is not None]
    assert len(made) == 25 and all(len(differing(*pair)) <= 1 for pair in made)
    random = make({"name": "pyglove", "algorithm": "random"}, SearchSpec(FLAT))
    assert all(parent is None for _, parent in told(random, "flat", 8))


@pytest.mark.parametrize("name", ["bayes", "smbo", "tpe", "mcts"])
def test_a_model_tells_from_how_many_values_it_proposed(name: str) -> None:
    options = {"startup": 4} if name != "mcts" else {}
    more = {"explore": 0.0} if name == "smbo" else {}
    sampler = make({"name": name, **options, **more}, SearchSpec(FLAT, seed=2))
    known: list[tuple[float, Choice]] = []
    said = 0
    for number in range(20):
        choice = sampler.ask()
        assert choice is not None and sampler.parent(choice) is None
        if origin := sampler.origin(choice):
            said += 1
            assert (
                origin.words.startswith(f"{name} proposed ") and f" from the values of {number} trials" in origin.words
            )
            assert origin.best == max(known, key=lambda one: one[0])[1]
        else:
            assert number < 4 or name == "mcts"
        value = OBJECTIVES["flat"](choice)
        sampler.tell(choice, (value,))
        known.append((value, choice))
    assert said >= 10


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda one: str(one["name"]))
def test_wrappers_pass_parents_on(wrapper: dict[str, Any]) -> None:
    found = told(make({**wrapper, "of": EVOLUTION}, SearchSpec(FLAT, seed=3)), "flat", 12)
    assert sum(parent is not None for _, parent in found) >= 7
    model = make({**wrapper, "of": {"name": "smbo", "startup": 2, "explore": 0.0}}, SearchSpec(FLAT, seed=3))
    told(model, "flat", 5)
    choice = model.ask()
    assert choice is not None and model.origin(choice) is not None


def test_a_filter_a_screen_and_what_is_asked_first_pass_parents_on() -> None:
    spec = SearchSpec(FLAT, seed=3)
    kept = make({"name": "filter", "where": "count([1, 2], 1) == 1", "of": EVOLUTION}, spec)
    screen = Screen(make(EVOLUTION, spec), ByScore(lambda choice: 1.0), 0.5, 2)
    first = First(make(EVOLUTION, spec), [SPACES["flat"].first])
    for sampler in (kept, screen, first):
        assert any(parent for _, parent in told(sampler, "flat", 12))


def test_nested_tells_the_parent_inside_and_across_choices_of_the_outer_search() -> None:
    over = next(d.name for d in FLAT.decisions)
    search = {"over": over, "outer": {**EVOLUTION, "population_size": 2}, "inner": EVOLUTION, "trials": 6}
    found = told(make({"name": "nested", **search}, SearchSpec(FLAT, seed=4)), "flat", 18)
    pairs = [(choice, parent) for choice, parent in found if parent is not None]
    inside = [differing(*pair) for pair in pairs if pair[0][over] == pair[1][over]]
    across = [pair for pair in pairs if pair[0][over] != pair[1][over]]
    assert inside and all(len(names) <= 1 for names in inside) and across
    choices = [choice for choice, _ in found]
    assert all(parent in choices for _, parent in pairs)
