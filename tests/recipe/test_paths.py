"""Paths: what is put can be got, patches merge by name, a place in a path has a place in the text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import RecipeError, Span
from assembler.recipe.document import load, override, parse
from assembler.recipe.paths import get, part_spans, patch, put
from assembler.recipe.read import read_text
from assembler.recipe.spread import spread
from assembler.recipe.values import Leaf, Map, Seq, Value, marked, plain

MODEL = read_text(
    """
vars: {dim: 8, widths: [4, 8]}
inputs: {x: [B, 4]}
graph:
  stem: layer_norm
  stage:
    repeat: 2
    body:
      mix: {op: residual, body: {norm: layer_norm, act: {op: gelu}}}
  head: {op: linear, out: =dim}
""",
    "m.yaml",
)
PATHS = ["vars.dim", "vars.widths.1", "head.out", "stage.mix.act.approximate", "stage.1.mix.norm", "stage.mix.act.op"]
SCALARS = st.one_of(st.integers(-9, 9), st.booleans(), st.sampled_from(["relu", "gelu", "=dim"]), st.floats(0, 1))
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "op", "body"]), inner, max_size=3)
    ),
    max_leaves=8,
)
TREES = st.dictionaries(st.sampled_from(["a", "b", "c", "op", "body"]), VALUES, max_size=5).map(marked)


@pytest.mark.parametrize("path", PATHS)
@given(value=SCALARS)
@settings(max_examples=20)
def test_what_is_put_is_got(path: str, value: object) -> None:
    assert get(put(MODEL, path, marked(value)), path) == marked(value)


@pytest.mark.parametrize("path", ["head.out", "stage.mix.act", "stem"])
def test_null_removes(path: str) -> None:
    assert get(MODEL, path) is not None
    assert get(put(MODEL, path, Leaf(None)), path) is None


def test_a_copy_is_kept_beside_the_body() -> None:
    tree = put(MODEL, "stage.1.mix.act.op", Leaf("relu"))
    assert plain(tree.get("graph").get("stage")) == {
        "repeat": 2,
        "body": {"mix": {"op": "residual", "body": {"norm": "layer_norm", "act": {"op": "gelu"}}}},
        "1": {"mix": {"act": {"op": "relu"}}},
    }


def says_twice(value: Value) -> bool:
    """Whether a mapping gives a body and, beside it, what may be a step of a body."""
    if not isinstance(value, Map):
        return isinstance(value, Seq) and any(says_twice(v) for v in value)
    beside = set(value.keys()) - {"body", "op"}
    return bool("body" in value and beside) or any(says_twice(v) for _, v in value)


@given(base=TREES, change=TREES.filter(lambda t: not says_twice(t)))
@settings(max_examples=300)
def test_a_patch_laid_twice_is_laid_once(base: Map, change: Map) -> None:
    try:
        once = patch(base, change)
    except RecipeError:
        return
    assert patch(once, change) == once


@given(base=TREES)
def test_an_empty_patch_changes_nothing(base: Map) -> None:
    assert patch(base, Map()) == base


def test_another_op_takes_other_arguments_and_keeps_the_wiring() -> None:
    base = marked({"op": "conv2d", "out": 8, "from": "a", "repeat": 2})
    assert plain(patch(base, marked({"op": "pool", "kernel": 3}))) == {
        "from": "a", "repeat": 2, "op": "pool", "kernel": 3,
    }  # fmt: skip
    assert plain(patch(base, marked({"op": "pool", "from": "b"}))) == {"repeat": 2, "op": "pool", "from": "b"}
    assert plain(patch(base, marked({"op": "conv2d", "out": 4}))) == {
        "op": "conv2d", "out": 4, "from": "a", "repeat": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("haed.out", "the recipe has no 'haed'", "did you mean 'head'?"),
        ("dim", "the recipe has no 'dim'", "did you mean 'vars.dim'?"),
        ("vars.dmi", "'vars' has no 'dmi'", "did you mean 'dim'?"),
        ("inputs.y", "'inputs' has no 'y'", "there is x"),
        ("head..out", "'head..out' is not a path", "for instance stage.2.block.mixer"),
        ("vars.widths.7", "the list has no item '7'", "its items are 0 to 1"),
    ],
)
def test_a_path_to_nowhere(path: str, message: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        put(MODEL, path, Leaf(1))
    assert (caught.value.problems[0].message, caught.value.problems[0].hint) == (message, hint)


def test_a_mapping_that_names_no_items_stands_in_a_lists_place() -> None:
    tree = marked({"phases": {"one": {"objective": [{"loss": "mse", "weight": 2.0}], "train": {"epochs": 1}}}})
    path = "phases.one.objective"

    def made(said: Any) -> Any:
        return plain(put(tree, path, marked(said)).get("phases").get("one").get("objective"))

    assert made({"graph": {"a": "relu"}, "terms": []}) == {"graph": {"a": "relu"}, "terms": []}
    assert made({"0": {"weight": 1.0}}) == [{"loss": "mse", "weight": 1.0}]
    assert made([{"loss": "l1"}]) == [{"loss": "l1"}] and made({}) == [{"loss": "mse", "weight": 2.0}]
    there = put(tree, path, marked({"loss": "l1"}))
    assert plain(put(there, path, marked([{"loss": "mse"}])).get("phases").get("one").get("objective")) == [
        {"loss": "mse"}
    ]


@given(st.lists(st.from_regex(r"[a-z_*][a-z0-9_]{0,4}", fullmatch=True), min_size=1, max_size=5), st.integers(0, 9))
def test_every_part_of_a_path_has_its_place(parts: list[str], indent: int) -> None:
    path = ".".join(parts)
    for text, start in ((f"{' ' * indent}{path}: 1", indent), (f"{' ' * indent}'{path}': 1", indent)):
        spans = part_spans(path, Span("f", 3, start + 1, text, len(path)))
        assert [s.text[s.column - 1 : s.column - 1 + s.width] for s in spans if s] == parts


def test_part_spans_without_a_text_are_the_whole() -> None:
    span = Span("f", 1, 1)
    assert part_spans("a.b.c", span) == [span] * 3
    assert part_spans("a.b", None) == [None, None]


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("stage.*.block.mixer", 4),
        ("stage.*.block.*.mixer", 12),
        ("stage.2.block.*.mixer", 6),
        ("vars.widths.*", 4),
        ("stage.block.mixer", 1),
    ],
)
def test_spread_gives_one_path_a_copy(path: str, count: int) -> None:
    found = spread(load("poolformer@s12").model, path)
    assert len(set(found)) == len(found) == count
    assert all("*" not in p for p in found)


@given(stages=st.integers(1, 4), depth=st.integers(1, 4))
@settings(max_examples=10, deadline=None)
def test_spread_counts_copies(stages: int, depth: int) -> None:
    text = f"""
inputs: {{x: [B, 4]}}
graph:
  stage: {{repeat: {stages}, body: {{block: {{repeat: {depth}, body: {{act: relu}}}}}}}}
"""
    model = parse(text).model
    assert len(spread(model, "stage.*.act")) == stages
    assert len(spread(model, "stage.*.block.*.act")) == stages * depth


@pytest.mark.parametrize("path", ["stem.*.op", "stage.mix.*.op", "vars.dim.*"])
def test_spread_where_nothing_is_repeated(path: str) -> None:
    with pytest.raises(RecipeError, match="matches no copy of anything"):
        spread(MODEL, path)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("vars.dim=96", "vars.dim", 96),
        ("a.b = {op: pool, k: [1, 2]}", "a.b", {"op": "pool", "k": [1, 2]}),
        ("a==dim * 2", "a", "=dim * 2"),
        ("a=", "a", None),
        ("a=on", "a", "on"),
        ("a=x=y", "a", "x=y"),
    ],
)
def test_overrides(text: str, path: str, value: object) -> None:
    found = override(text)
    assert (found.path, plain(found.value)) == (path, value)


@given(st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_override_is_read_or_refused(text: str) -> None:
    try:
        assert override(text).path
    except RecipeError as error:
        assert all(p.span is None or p.span.file == "-o" for p in error.problems)


def test_places_in_an_override_show_the_text_as_typed() -> None:
    value: Value = override("stage.block.mixer={op: pool, k: [1, two]}").value
    assert isinstance(value, Map)
    item = value.get("k").items[1].span
    assert (str(item), item.text[item.column - 1 : item.column - 1 + item.width]) == ("-o:1:37", "two")
    key = value.key_span("k")
    assert key is not None
    assert key.text[key.column - 1] == "k"


def steps_of(tree: Map, path: str, value: Any) -> dict[str, Any]:
    """The steps of a small graph after a change."""
    found: dict[str, Any] = plain(put(tree, path, marked(value)).get("graph"))
    return found


CHAIN = marked(
    {
        "inputs": {"x": ["B", 4]},
        "graph": {
            "stem": "layer_norm",
            "side": {"op": "linear", "out": 4, "from": "stem"},
            "both": {"op": "add", "from": ["side", "stem"]},
            "deep": {"body": {"a": {"op": "mul", "from": ["input", "stem"]}, "b": "relu"}},
        },
        "outputs": {"y": "deep", "z": "stem"},
    }
)


def test_a_step_is_put_in_the_midst_and_read_instead() -> None:
    change = {"after": "stem", "op": "relu"}
    found = put(CHAIN, "act", marked(change))
    assert put(CHAIN, "graph.act", marked(change)) == found == put(found, "act", marked(change))
    assert [*found.get("graph").keys()] == ["stem", "act", "side", "both", "deep"]
    assert plain(found.get("graph").get("act")) == {"op": "relu"}
    assert plain(found.get("graph").get("both"))["from"] == ["side", "act"]
    assert plain(get(found, "deep.a.from")) == ["input", "act"]
    assert plain(found.get("outputs")) == {"y": "deep", "z": "act"}
    deep = put(CHAIN, "deep.c", marked({"after": "a", "op": "gelu"})).get("graph").get("deep")
    assert [*deep.get("body").keys()] == ["a", "c", "b"]
    assert [*steps_of(CHAIN, "first", {"after": "input", "op": "relu"})] == ["first", "stem", "side", "both", "deep"]
    with pytest.raises(RecipeError) as caught:
        put(CHAIN, "deep.c", marked({"after": "aa", "op": "gelu"}))
    (problem,) = caught.value.problems
    assert (problem.message, problem.hint) == ("no step 'aa' stands here", "did you mean 'a'?")


def test_what_takes_the_place_of_a_step_reads_what_it_read() -> None:
    assert steps_of(CHAIN, "side", "relu")["side"] == {"from": "stem", "op": "relu"}
    body = {"one": "relu", "two": "gelu"}
    assert steps_of(CHAIN, "side", {"body": body})["side"] == {"from": "stem", "body": body}
    wrapped = marked({"mix": {"op": "residual", "body": {"act": "relu"}}})
    assert plain(patch(wrapped, marked({"mix": {"body": {"act": "gelu"}}}))) == {
        "mix": {"op": "residual", "body": {"act": "gelu"}}
    }


def test_items_of_a_list_are_removed_and_added() -> None:
    tree = marked({"vars": {"widths": [4, 8, 16]}})
    assert plain(put(tree, "vars.widths.1", Leaf(None)).get("vars")) == {"widths": [4, 16]}
    assert plain(put(tree, "vars.widths.3", Leaf(32)).get("vars")) == {"widths": [4, 8, 16, 32]}
    assert plain(patch(tree, marked({"vars": {"widths": {"0": None, "2": 1, "3": 2}}}))) == {
        "vars": {"widths": [8, 1, 2]}
    }
