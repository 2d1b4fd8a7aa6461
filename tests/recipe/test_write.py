"""Canonical text: reading it gives the values back, and comments stay."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from assembler.errors import RecipeError
from assembler.recipe.read import read_text
from assembler.recipe.values import Leaf, Map, Seq, marked, plain
from assembler.recipe.write import format_source, to_yaml

NASTY = [
    "", " ", "a ", " a", "null", "~", "true", "True", "on", "Off", "yes", "NO", "n", "y", "1", "01", "0o7", "0x1",
    "0b1", "1_0",
    "1e3", "1.", ".5", "+1", "-", "- a", "-a", "--- ", "---", "...", "? a", ":a", "a:", "a: b", "a:b", "a #b", "#a",
    "a#b", "=",
    "=a[0]", "=max(a, b)", "<<", "12:30:45", "1:2", "2024-01-02", "2024-1-2 1:2:3", ".inf", "-.INF", ".nan", "{a}",
    "[a", "a]",
    "a, b", "a,b", "!x", "&x", "*x", "stage.*", "%x", "@x", "`x", "|", ">", "'", '"', "it's", 'say "x"', "a\\b",
    "\\", "a\nb",
    "a\nb\n", "a\n\nb", "\na", "a\n\n", "a\n  b\n c", " a\nb", "a \nb", "a\tb", "\t", "a\r\nb", "\x85", "\u2028",
    "\ufeff", "é",
    "日本", "😀", "\xa0", "x" * 300, "word " * 60, "a  b " * 40, "# " * 80, "- " * 70 + "x", "12e03", "1,2",
    "0?", "$oneof",
]  # fmt: skip
strings = st.sampled_from(NASTY) | st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\t :#'\"-"), max_size=30
)
keys = st.sampled_from([n for n in NASTY if n.isprintable() and n and len(n) <= 200]) | st.from_regex(
    r"[a-z_$][a-z0-9_.*]{0,8}|[0-9]{1,3}", fullmatch=True
)
leaves = (
    strings
    | st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
trees = st.recursive(leaves, lambda v: st.lists(v, max_size=4) | st.dictionaries(keys, v, max_size=4), max_leaves=12)
maps = st.dictionaries(keys, trees, max_size=5).map(marked)


@settings(max_examples=400, deadline=None)
@given(maps, st.sampled_from([20, 60, 110]))
def test_reading_canonical_text_gives_the_values_back(value, width):
    text = to_yaml(value, width=width)
    again = read_text(text, "r")
    assert again == value
    assert to_yaml(again, width=width) == text
    assert format_source(text, "r", width=width) == text


@pytest.mark.parametrize("text", NASTY)
def test_nasty_strings_stay_in_every_place(text):
    key = text if text and text.isprintable() and len(text) <= 200 else "e"
    value = marked({"a": text, "b": {"c": [text, text], "d": {key: text}}, "f": [[{"g": text}]], "h": {key: [text]}})
    assert read_text(to_yaml(value), "r") == value


@settings(max_examples=200, deadline=None)
@given(maps)
def test_a_yaml_1_1_reader_sees_the_same_values(value):
    def as_text(data):
        if isinstance(data, dict):
            return {str(k): as_text(v) for k, v in data.items()}
        return [as_text(v) for v in data] if isinstance(data, list) else data

    found = as_text(yaml.safe_load(to_yaml(value)))
    assume(len(str(found)) < 10_000)
    assert repr(found) == repr(plain(value))


def test_style():
    value = marked({
        "name": "tiny", "vars": {"widths": [64, 128], "lr": 1e-5, "flag": "on"},
        "graph": {"stem": {"op": "conv2d", "out": "=max(a, b)"}, "head": {"op": "linear", "bias": None}},
        "choose": {"a.mixer": {"$oneof": ["pool", "attention"]}, "x": {"$oneof": [{"op": "a"}, {"op": "b"}]}},
        "match": [{"loss": "kl", "weight": 1.0}, {"loss": "mse", "at": {"deep": {"er": True}}}],
        "doc": "First line.\n\n  code\nLast.\n", "long": "word " * 24 + "end", "empty": {}, "none": [],
    })  # fmt: skip
    assert to_yaml(value) == (
        """\
name: tiny
vars: {widths: [64, 128], lr: 1.0e-5, flag: "on"}
graph:
  stem: {op: conv2d, out: "=max(a, b)"}
  head: {op: linear, bias: null}
choose:
  a.mixer: {$oneof: [pool, attention]}
  x:
    $oneof:
      - {op: a}
      - {op: b}
match:
  - {loss: kl, weight: 1.0}
  - loss: mse
    at:
      deep: {er: true}
doc: |
  First line.

    code
  Last.
long: >-
  """
        + "word " * 20
        + "word\n  word word word end\nempty: {}\nnone: []\n"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Map((("a", Leaf(float("nan"))),)), "nan is not a finite number"),
        (Map((("a", Leaf(float("inf"))),)), "inf is not a finite number"),
        (Map((("a", Leaf(2**63)),)), "does not fit in 64 bits"),
        (Map((("a", Leaf("\x1b[2J")),)), "control character U+001B"),
        (Map((("a", Leaf("\ud800")),)), "control character U+D800"),
        (Map((("", Leaf(1)),)), "a key cannot be empty"),
        (Map((("a\nb", Leaf(1)),)), "a key must be printable"),
        (Map((("k" * 201, Leaf(1)),)), "at most 200 characters"),
        (Map((("a", Leaf(1)), ("a", Leaf(2)))), "the key 'a' stands twice"),
        (Map((("f", Map((("a", Leaf(1)), ("a", Leaf(2))))),)), "the key 'a' stands twice"),
    ],
)
def test_what_no_file_can_hold_is_refused(value, message):
    with pytest.raises(RecipeError) as caught:
        to_yaml(value)
    assert message in str(caught.value)


def test_values_nested_too_deep_are_refused():
    value: Map = Map((("a", Leaf(1)),))
    for _ in range(200):
        value = Map((("a", value),))
    with pytest.raises(RecipeError, match="nested more than 64 deep"):
        to_yaml(value)


SOURCE = """\
# about this file


# and more
kind:   model   # what it is
vars: {a: 1,  # why one
   b: [1,
       # inside
       2] }
doc: |   # literal
  text # not a comment
  "more"
graph:

  # the first step
  a: {'op': "conv"}
  # b: {op: off}

out:
    - x   # first
    # before y
    - y: 1.50
      z: 'it''s # no comment'   # comment
    # end of out
# the end
"""
FORMATTED = """\
# about this file

# and more
kind: model  # what it is
vars:  # why one
  a: 1
  b:
    - 1
    # inside
    - 2
doc: |  # literal
  text # not a comment
  "more"
graph:

  # the first step
  a: {op: conv}
  # b: {op: off}

out:
  - x  # first
  # before y
  - y: 1.5
    z: "it's # no comment"  # comment
  # end of out
# the end
"""


def test_comments_and_blank_lines_stay_where_they_belong():
    assert format_source(SOURCE, "r.yaml") == FORMATTED
    assert format_source(FORMATTED, "r.yaml") == FORMATTED
    assert read_text(FORMATTED, "r") == read_text(SOURCE, "r")


def test_a_comment_without_a_place_is_an_error_and_not_lost():
    with pytest.raises(RecipeError) as caught:
        format_source("a: {b: 1,\n  c: 2\n}  # after the bracket\n", "r.yaml")
    assert str(caught.value) == (
        "r.yaml:3:4: error: this comment belongs to no entry\n    }  # after the bracket\n       ^^^^^^^^^^^^^^^^^^^\n"
        "    hint: put it on a line of its own above an entry"
    )


def test_anchors_are_not_expanded_silently():
    with pytest.raises(RecipeError) as caught:
        format_source("a: &w [1]\nb: *w\n", "r.yaml")
    assert str(caught.value).startswith("r.yaml:1:4: error: the anchor &w would be lost in the canonical form")


@st.composite
def commented(draw):
    """Canonical text with comments and blank lines strewn in."""
    lines = to_yaml(draw(maps), width=40).splitlines()
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(lines)))
        kind = draw(st.integers(0, 2))
        if kind == 2 and at < len(lines):
            lines[at] += "  # tail" + draw(st.sampled_from(["", "#", " it's", ' "x']))
        else:
            lines.insert(at, " " * draw(st.integers(0, 6)) + "# own" if kind else "")
    return "\n".join(lines) + "\n"


@settings(max_examples=200, deadline=None)
@given(commented())
@example("a: 1\n#b\n#c")
@example("- {\n # c\n a: 1}\n")
@example("a:\n  - {\n # c\n a: 1}\n")
def test_formatting_keeps_values_and_comments_and_is_stable(text):
    try:
        value = read_text(text, "r")
    except RecipeError:
        return
    try:
        formatted = format_source(text, "r")
    except RecipeError as error:
        assert "comment" in str(error)
        return
    assert read_text(formatted, "r") == value
    assert format_source(formatted, "r") == formatted


def test_an_empty_mapping_keeps_its_comments():
    assert to_yaml(Map()) == "{}\n"
    assert format_source("# nothing yet\n{}\n", "r") == "# nothing yet\n{}\n"
    assert to_yaml(Map((("a", Seq()), ("b", Map())))) == "a: []\nb: {}\n"


@pytest.mark.parametrize(
    ("text", "formatted"),
    [
        ("out:\n    # c\n  - x\n", "out:\n  # c\n  - x\n"),
        ("out:\n- {a: 1}\n# c\n- b: 2 # d\n  # e\n", "out:\n  - {a: 1}\n  # c\n  - b: 2  # d\n    # e\n"),
        ("a:\n  b: {c: 1}\n\n  # foot\n\n\nd: 1", "a:\n  b: {c: 1}\n\n  # foot\n\nd: 1\n"),
        ("a: 'x # y' # z\n", 'a: "x # y"  # z\n'),
        ("a: [1, 2] #c\n#d\n\n", "a: [1, 2]  #c\n#d\n"),
    ],
)
def test_each_comment_keeps_its_side(text, formatted):
    assert format_source(text, "r") == formatted
