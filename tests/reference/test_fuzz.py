"""No text crashes or hangs what reads recipes; `python -m tests.reference.fuzz` looks for longer."""

from __future__ import annotations

import random

import pytest
from drawn import recipes
from fuzz import Findings, fuzz, look
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutate import changed

DRAWN = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck), "database": None}


def test_changed_recipes_and_mistakes_are_read_or_refused() -> None:
    found = fuzz(60, seed=0, most=400)
    assert found.texts == 400
    assert not found.bad


@settings(max_examples=60, **DRAWN)
@given(recipes(), st.integers(0, 10**6))
def test_changed_drawn_recipes_are_read_or_refused(text: str, seed: int) -> None:
    found = Findings()
    look(changed(random.Random(seed), text), found)
    assert not found.bad


@pytest.mark.slow
def test_nothing_is_found_in_three_minutes() -> None:
    seed = random.randrange(10**6)
    found = fuzz(180, seed)
    assert not found.bad, f"seed {seed}: {next(iter(found.bad.items()))}"
    assert found.right > found.texts / 50


@pytest.mark.slow
@settings(max_examples=3000, **{**DRAWN, "derandomize": False})
@given(recipes(), st.integers(0, 10**6))
def test_many_changed_drawn_recipes_are_read_or_refused(text: str, seed: int) -> None:
    found = Findings()
    look(changed(random.Random(seed), text), found)
    assert not found.bad
