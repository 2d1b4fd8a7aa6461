"""Recipe values: mappings behave as dictionaries whatever their size, places survive edits and copies."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.errors import RecipeError
from assembler.recipe.read import read_text
from assembler.recipe.values import Leaf, Map, plain
from assembler.wiring.build import build

KEYS = st.sampled_from([f"k{i}" for i in range(30)])


@given(st.dictionaries(KEYS, st.integers(0, 9)), KEYS, st.integers(0, 9), st.sets(KEYS))
def test_a_mapping_is_edited_as_a_dictionary_is(items, key, number, dropped):
    value = Map((k, Leaf(v)) for k, v in items.items())
    assert plain(value) == items
    assert plain(value.set(key, Leaf(number))) == {**items, key: number}
    assert plain(value.drop(*dropped)) == {k: v for k, v in items.items() if k not in dropped}
    assert (key in value, value.get(key)) == (key in items, Leaf(items[key]) if key in items else None)
    assert value.keys() == list(items)


@pytest.mark.parametrize("count", [3, 30])
def test_places_survive_edits(count):
    text = "".join(f"k{i}: v{i}\n" for i in range(count))
    value = read_text(text, "r.yaml").drop("k0").set("k1", Leaf(1)).set("new", Leaf(2))
    assert [str(value.key_span(k)) for k in ("k1", "k2")] == ["r.yaml:2:1", "r.yaml:3:1"]
    assert str(value.get("k2").span) == "r.yaml:3:5"
    assert value.key_span("new") is None
    assert str(value.key_span("nowhere")) == str(value.span) == "r.yaml:1:1"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_a_copy_has_the_same_places(copied):
    value = read_text("a: {b: [1, x]}\n", "r.yaml")
    made = copied(value)
    assert made == value and hash(made) == hash(value)
    assert made.key_span("a") == value.key_span("a")
    assert made.get("a").get("b").items[1].span == value.get("a").get("b").items[1].span
    assert made.get("a").get("b").span.text == "a: {b: [1, x]}"


def test_values_are_frozen():
    for value, name in ((Leaf(1), "value"), (Map(), "_keys")):
        with pytest.raises(AttributeError):
            setattr(value, name, ())


def test_reading_and_building_leave_the_garbage_collector_as_it_was():
    assert gc.isenabled()
    for text in ("a: 1", "a: [1", "graph: {x: nothing}"):
        with contextlib.suppress(RecipeError):
            build(read_text(text, "r.yaml"))
        assert gc.isenabled()
    gc.disable()
    try:
        read_text("a: 1", "r.yaml")
        assert not gc.isenabled()
    finally:
        gc.enable()
