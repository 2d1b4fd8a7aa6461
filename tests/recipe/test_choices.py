"""Choices: decisions by stable names, their number, and the recipes that they give."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import RecipeError
from assembler.recipe.choices import Choice, Decision, Space, decide, first, space
from assembler.recipe.document import load
from assembler.recipe.values import Map, marked, plain

LEAVES = st.integers(0, 3) | st.sampled_from(["relu", "pool"])


def choices(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    return (
        st.lists(inner, min_size=1, max_size=3).map(lambda c: {"$oneof": c})
        | st.tuples(st.integers(0, 2), st.integers(2, 4)).map(lambda b: {"$int": list(b)})
        | several.map(lambda c: {"$permutate": c})
        | st.tuples(several, st.booleans(), st.booleans()).map(
            lambda t: {"$manyof": t[0], "k": min(2, len(t[0])), "distinct": t[1], "sorted": t[2]}
        )
        | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    )


TREES = st.dictionaries(st.sampled_from(["x", "y"]), st.recursive(LEAVES, choices, max_leaves=4), max_size=2).map(
    marked
)


def values(decision: Decision) -> list[Any]:
    n = range(len(decision.labels))
    match decision.kind:
        case "oneof":
            return list(n)
        case "int":
            return list(range(int(decision.low or 0), int(decision.high or 0) + 1))
        case "permutate":
            return list(itertools.permutations(n))
        case _:
            found = itertools.product(n, repeat=decision.k)
            return [p for p in found if decision.accepts(p)]


def every(decisions: Space, made: Choice | None = None, at: int = 0) -> Iterator[Choice]:
    made = made or {}
    if at == len(decisions.decisions):
        yield made
        return
    d = decisions.decisions[at]
    if any(made.get(name) != index for name, index in d.when):
        yield from every(decisions, made, at + 1)
        return
    for value in values(d):
        yield from every(decisions, {**made, d.name: value}, at + 1)


@given(TREES)
@settings(max_examples=150, deadline=None)
def test_the_size_is_the_number_of_choices(tree: Map) -> None:
    found = space(tree)
    assert found.size is not None
    if found.size < 2000:
        made = [tuple(sorted(c.items())) for c in every(found)]
        assert len(made) == len(set(made)) == found.size


@given(TREES, st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_a_choice_leaves_nothing_open(tree: Map, seed: int) -> None:
    found = space(tree)
    choice = found.sample(random.Random(seed))
    found.check(choice)
    assert set(choice) == {d.name for d in found.active(choice)}
    assert space(decide(tree, choice)).decisions == ()


@given(TREES)
@settings(max_examples=150, deadline=None)
def test_covering_picks_every_candidate_and_begins_with_the_first(tree: Map) -> None:
    found = space(tree)
    made = list(found.covering())
    assert made[0] == found.first
    for choice in made:
        found.check(choice)
    for d in found.decisions:
        alike = {o.name for o in found.decisions if re.sub(r"\.\d\[", "[", o.name) == re.sub(r"\.\d\[", "[", d.name)}
        picked = [c[name] for c in made for name in alike if name in c]
        flat = {i for p in picked for i in (p if isinstance(p, tuple) else (p,))}
        assert flat >= (set(range(len(d.labels))) if d.labels else {d.low, d.high})
    assert len(made) <= 1 + sum(len(d.spread()) for d in found.decisions)


def test_names_and_conditions() -> None:
    mixer = {"$oneof": ["pool", {"op": "attention", "heads": {"$int": [1, 4]}}]}
    tree = marked({"mixer": mixer, "lr": {"$float": [1, 2]}})
    assert isinstance(tree, Map)
    found = space(tree)
    assert [(d.name, d.when) for d in found.decisions] == [
        ("mixer", ()),
        ("mixer[attention].heads", (("mixer", 1),)),
        ("lr", ()),
    ]
    assert found.size is None
    assert plain(decide(tree, {"mixer": 1, "mixer[attention].heads": 3})) == {
        "mixer": {"op": "attention", "heads": 3},
        "lr": {"$float": [1, 2]},
    }
    assert plain(first(tree, found)) == {"mixer": "pool", "lr": 1.0}


def test_a_candidate_that_is_added_renames_nothing() -> None:
    def names(candidates: list[Any]) -> set[str]:
        tree = marked({"a": {"$oneof": candidates}})
        assert isinstance(tree, Map)
        return {d.name for d in space(tree).decisions}

    inner = {"op": "conv", "k": {"$int": [1, 3]}}
    assert names(["pool", inner]) <= names(["zero", "pool", inner])


def test_a_shared_choice_is_one_decision_and_a_starred_one_is_one_a_copy(tmp_path: Any) -> None:
    file = tmp_path / "s.yaml"
    text = "kind: space\nbase: poolformer@s12\nchoose:\n  {}: {{$oneof: [pool, attention]}}\n"
    for path, count in (("stage.block.mixer", 1), ("stage.*.block.mixer", 4), ("stage.2.block.mixer", 1)):
        file.write_text(text.format(path))
        found = space(load(file).model)
        assert len(found.decisions) == count
        assert [d.name for d in found.decisions][-1] == path.replace("*", "3")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"$oneof": "pool"}, "'$oneof' needs a list of candidates"),
        ({"$two": [1]}, "unknown choice '$two'"),
        ({"$int": [1, True]}, "'$int' needs two whole numbers"),
        ({"$int": [1]}, "'$int' needs two whole numbers"),
        ({"$float": [2.0, 1.0]}, "'$float' needs two numbers"),
        ({"$float": [1.0, 2.0], "log": "yes"}, "'log' must be true or false, not 'yes'"),
        ({"$manyof": [1, 2], "k": True}, "'k' must be a whole number from 1 to 2, not true"),
        ({"$manyof": [1, 2], "k": 0}, "'k' must be a whole number from 1 to 2, not 0"),
        ({"$permutate": [1, 2], "k": 1}, "'$permutate' takes no 'k'"),
    ],
)
def test_a_malformed_choice(choice: dict[str, Any], message: str) -> None:
    tree = marked({"a": choice, "b": {"$oneof": [1]}})
    assert isinstance(tree, Map)
    with pytest.raises(RecipeError) as caught:
        space(tree)
    assert caught.value.problems[0].message.startswith(message)
    noted: list[Any] = []
    assert [d.name for d in space(tree, noted).decisions] == ["b"]
    assert len(noted) == 1


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({}, "decision 'a' is not made"),
        ({"a": 2}, "decision 'a' cannot be 2"),
        ({"a": 0, "b": 1}, "there is no decision 'b'"),
        ({"a": 1, "a[op].k": 9}, r"decision 'a[op].k' cannot be 9"),
        ({"a": 0, "a[op].k": 1}, r"there is no decision 'a[op].k'"),
    ],
)
def test_a_choice_that_does_not_fit(choice: Choice, message: str) -> None:
    tree = marked({"a": {"$oneof": ["pool", {"op": "op", "k": {"$int": [1, 3]}}]}})
    assert isinstance(tree, Map)
    with pytest.raises(RecipeError) as caught:
        space(tree).check(choice)
    assert message in str(caught.value)


NESTED = {
    "taps": {
        "$manyof": ["skip", {"op": "conv", "k": {"$oneof": [3, 5, 7]}}, {"op": "pool", "k": {"$int": [2, 3]}}],
        "k": 2,
    }
}


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 2 * (1 * 3 + 1 * 2 + 3 * 2)),
        ({"sorted": True}, 1 * 3 + 1 * 2 + 3 * 2),
        ({"distinct": False}, 6 * 6),
        ({"distinct": False, "sorted": True}, 1 * 6 + 3 * (3 + 2) + 2 * 2),
    ],
)
def test_each_pick_of_several_has_choices_of_its_own(options: dict[str, Any], size: int) -> None:
    tree = marked({"taps": {**NESTED["taps"], **options}})
    assert isinstance(tree, Map)
    found = space(tree)
    made = [tuple(c.items()) for c in found.every()]
    assert found.size == size == len(set(made)) == len(made)
    assert made == [tuple(c.items()) for c in every(found)]


def test_the_choices_inside_several_picks_are_named_by_position() -> None:
    tree = marked(NESTED)
    assert isinstance(tree, Map)
    choice = {"taps": (2, 1), "taps.0[pool].k": 3, "taps.1[conv].k": 2}
    space(tree).check(choice)
    assert plain(decide(tree, choice)) == {"taps": [{"op": "pool", "k": 3}, {"op": "conv", "k": 7}]}
    with pytest.raises(RecipeError, match=r"there is no decision 'taps.0\[conv\].k'"):
        space(tree).check({"taps": (2, 1), "taps.0[conv].k": 0, "taps.1[conv].k": 2, "taps.0[pool].k": 2})


@given(TREES)
@settings(max_examples=100, deadline=None)
def test_choices_are_enumerated_as_they_are_counted(tree: Map) -> None:
    found = space(tree)
    if (found.size or 0) < 500:
        assert [tuple(c.items()) for c in found.every()] == [tuple(c.items()) for c in every(found)]
        assert found.count() == found.size


@pytest.mark.parametrize("options", [{}, {"sorted": True}, {"distinct": False}, {"distinct": False, "sorted": True}])
def test_uniform_draws_are_uniform_over_choices_and_samples_over_candidates(options: dict[str, Any]) -> None:
    tree = marked({"taps": {**NESTED["taps"], **options}, "x": {"$oneof": ["a", {"y": {"$int": [1, 9]}}]}})
    assert isinstance(tree, Map)
    found, rng = space(tree), random.Random(0)
    size = found.size or 0
    drawn = Counter(tuple(found.uniform(rng).items()) for _ in range(40 * size))
    assert len(drawn) == size
    assert sum((n - 40) ** 2 / 40 for n in drawn.values()) < size + 6 * (2 * size) ** 0.5  # chi squared
    assert sum(found.uniform(rng)["x"] == 0 for _ in range(2000)) < 300  # one of ten
    assert sum(found.sample(rng)["x"] == 0 for _ in range(2000)) > 800  # one of two
