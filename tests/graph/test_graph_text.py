"""The text form: what it looks like, that it reads back equal, and what it says of malformed text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import GraphError
from assembler.graph import Graph, Node, TensorType
from assembler.graph.text import from_text, to_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)


def test_prints_the_golden_text(model, model_text):
    assert to_text(model) == model_text
    assert str(model) == model_text


def test_reads_names_and_types(model):
    assert model.name == "tiny"
    assert model.inputs == (("image", TensorType((2, 3, 8, 8))),)
    assert model.names["stage.0.mix"] == "stage.0.mix.token"
    assert model.nodes["stage.0"] == Node("add", (), (("0", "stem"), ("1", "stage.0.mix.token")))
    assert model.nodes["stage.0.mix.token"].arg("kernel_size") == (3, 1)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_round_trip_of_random_graphs(graphs, data):
    graph = data.draw(graphs())
    back = from_text(to_text(graph))
    assert back == graph
    assert (back.names, back.name) == (graph.names, graph.name)


@given(value=JSON)
def test_round_trip_of_values_keeps_their_types(value):
    graph = Graph((("x", TensorType((1,))),), {"a": Node("relu", (("v", value),), (("input", "x"),))}, (("y", "a"),))
    assert repr(from_text(to_text(graph)).nodes["a"].args) == repr((("v", value),))


def test_ports_out_of_order_are_written_out():
    ports = (("1", "x"), ("0", "x"), ("2", "x"))
    graph = Graph((("x", TensorType((1,))),), {"a": Node("concat", (), ports)}, (("y", "a"),))
    assert "%a = concat(1=%x, 0=%x, %x)" in to_text(graph)
    assert from_text(to_text(graph)) == graph


def test_blank_lines_comments_and_carriage_returns_are_skipped(model, model_text):
    assert from_text("# a model\r\n\r\n" + model_text.replace("\n", "\r\n")) == model


def test_every_malformed_line_is_reported_with_its_place():
    text = """\
graph "m" (%x: float32[1, 4]) {
  %first = linear(input=%x) {out = 4}
  %second = linear(input=%frist) {out = 4}
  %first = relu(input=%x)
  %third = relu(input=%x) {slope = {"a": 1}}
  %fourth = relu(input=%x) {slope = oops}
  %fifth relu(%x)
  hello
  return y = %third more
}
"""
    with pytest.raises(GraphError) as error:
        from_text(text, file="graph.txt")
    assert (
        str(error.value)
        == """\
graph.txt:3:26: error: '%frist' is not defined above
      %second = linear(input=%frist) {out = 4}
                             ^^^^^^
    hint: did you mean 'first'?
graph.txt:4:3: error: '%first' is defined twice
      %first = relu(input=%x)
      ^^^^^^
graph.txt:5:36: error: a mapping cannot be an argument
      %third = relu(input=%x) {slope = {"a": 1}}
                                       ^
    hint: scalars and lists can
graph.txt:6:37: error: expected a JSON value, found 'oops}'
      %fourth = relu(input=%x) {slope = oops}
                                        ^
graph.txt:7:10: error: expected '=', found 'relu(%x)'
      %fifth relu(%x)
             ^
graph.txt:8:3: error: expected '%', 'name', 'return' or '}', found 'hello'
      hello
      ^
graph.txt:9:21: error: expected the end of the line, found 'more'
      return y = %third more
                        ^"""
    )


HEAD = 'graph "m" (%x: float32[1]) {\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "g:1:1: error: the text ends without 'graph'"),
        ('graph "m" () {\n', "g:2:1: error: the text ends without '}'"),
        ("graph 3 () {", "g:1:9: error: the name of a graph is a string, not 3"),
        ("digraph", "g:1:1: error: expected 'graph', found 'digraph'"),
        ('graph "m" (%x: float32[1, -4]) {', "g:1:27: error: expected a size, found '-4]) {'"),
        ('graph "m" (%x: float32[1.5]) {', "g:1:24: error: '1.5' is not a size"),
        ('graph "m" (%x: float32[1] %y: int8[1]) {', "g:1:27: error: expected ',' or ')', found '%y: int8[1]) {'"),
        ('graph "m" () {\n}\n}', "g:3:1: error: there is text after the graph"),
        (HEAD + "return y = %x\nreturn z = %x\n}", "g:3:1: error: expected '}', found 'return z = %x'"),
        (HEAD + "name a = %x\nname a = %x\n}", "g:3:6: error: 'a' is named twice"),
        (HEAD + "%a = relu(%x) {b = " + "[" * 5000, "g:2:20: error: expected a JSON value, found '[[[[["),
        (HEAD + "%a = relu(%x) {b = " + "[" * 700 + "]" * 700 + "}", "g:2:20: error: expected a JSON value, found '[["),
        (HEAD + "%a = relu(%x) {b = " + "9" * 5000, "g:2:20: error: expected a JSON value, found '99999"),
    ],
)
def test_malformed_text(text, message):
    with pytest.raises(GraphError) as error:
        from_text(text, file="g")
    assert str(error.value).startswith(message)


@given(cut=st.integers(0, 400), junk=st.text(max_size=4))
def test_damaged_text_never_raises_anything_else(model_text, cut, junk):
    try:
        from_text(model_text[:cut] + junk + model_text[cut + 1 :])
    except GraphError as error:
        assert error.problems[0].span is not None
