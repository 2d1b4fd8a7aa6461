"""Choices of a recipe and PyGlove's hyper values, there and back."""

from __future__ import annotations

from typing import Any

import pyglove as pg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import RecipeError
from assembler.recipe.choices import space
from assembler.recipe.values import Map, marked, plain
from assembler.symbolic.hyper import from_hyper, to_hyper

LEAVES = st.one_of(st.integers(-9, 9), st.sampled_from(["pool", "attention", "on"]), st.booleans(), st.none())
ORDERED = st.tuples(st.integers(1, 9), st.integers(0, 9)).map(lambda p: [p[0], p[0] + p[1]])


def choices(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=2, max_size=3, unique_by=repr)
    return st.one_of(
        some.map(lambda c: {"$oneof": c}),
        ORDERED.map(lambda b: {"$int": b}),
        st.tuples(ORDERED, st.booleans()).map(lambda p: {"$float": [float(p[0][0]), p[0][1] + 0.5]} | _log(p[1])),
        st.tuples(st.lists(LEAVES, min_size=3, max_size=4, unique_by=repr), st.booleans(), st.booleans()).map(
            lambda p: {"$manyof": p[0], "k": 2, "distinct": p[1], "sorted": p[2]}
        ),
        st.lists(LEAVES, min_size=2, max_size=3, unique_by=repr).map(lambda c: {"$permutate": c}),
    )


def _log(yes: bool) -> dict[str, bool]:
    return {"log": True} if yes else {}


STEP = st.dictionaries(st.sampled_from(["op", "mixer", "ratio"]), st.one_of(LEAVES, choices(LEAVES)), max_size=2)
VALUE = st.one_of(choices(LEAVES), choices(STEP), STEP)


@settings(max_examples=60, deadline=None)
@given(VALUE)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert plain(marked(from_hyper(to_hyper(marked(value))))) == value


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b"]), VALUE, min_size=1))
def test_pyglove_and_we_count_the_same_space(value: dict[str, Any]) -> None:
    found = marked(value)
    assert isinstance(found, Map)
    size = pg.dna_spec(to_hyper(found)).space_size
    assert space(found).size == (None if size == -1 else size)


@pytest.mark.parametrize(
    "value",
    [
        {"$oneof": [{"op": "pool"}, {"op": "attention", "heads": {"$oneof": [1, 2, 4]}}]},
        {"$oneof": [{"$oneof": [1, 2]}, {"op": "attention", "drop": {"$float": [0.0, 0.5]}}]},
        {"$int": [3, 3]},
        {"$manyof": [0, 1, 2, 3], "k": 4, "distinct": True, "sorted": True},
    ],
)
def test_nested_and_conditional_choices_come_back(value: Any) -> None:
    assert plain(marked(from_hyper(to_hyper(marked(value))))) == value


def test_what_a_recipe_cannot_hold_is_refused() -> None:
    with pytest.raises(RecipeError, match="a recipe cannot hold a bytes: b'x'"):
        from_hyper(pg.Dict(a=[b"x"]))
