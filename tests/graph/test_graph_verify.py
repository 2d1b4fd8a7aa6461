"""The verifier: what it lets pass, and what it says of each thing that is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import GraphError, Span
from assembler.graph import Graph, Node, TensorType
from assembler.graph.verify import verify

X = (("x", TensorType((2, 8))),)
RELU = Node("relu", (), (("input", "x"),))


def linear(source, **args):
    return Node("linear", tuple(sorted(args.items())), (("input", source),))


def complaint(nodes, outputs=None, names=None, inputs=X):
    outputs = (("y", next(iter(nodes))),) if outputs is None else outputs
    with pytest.raises(GraphError) as error:
        verify(Graph(inputs, nodes, outputs, names or {}))
    return str(error.value)


def test_a_right_graph_passes(model):
    verify(model)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_random_graphs_pass(graphs, data):
    verify(data.draw(graphs()))


X_IN = ("input", "x")
ONE_STEP = [
    (linear("x", out=8, biass=True), "op 'linear' has no argument 'biass'", "did you mean 'bias'?"),
    (linear("x", out=8.5), "'out' of op 'linear' must be an integer, not 8.5", ""),
    (linear("x"), "op 'linear' needs 'out'", "for instance {op: linear, out: ...}"),
    (
        linear("x", out=8, out_features=4),
        "'out_features' and 'out' of op 'linear' are one argument",
        "write one of them",
    ),
    (
        Node("linear", (("out", 8), ("bias", False)), (X_IN,)),
        "arguments stand in the order out, bias",
        "each once, sorted by name",
    ),
    (Node("groupnorm", (("num_groups", 2),), (X_IN,)), "unknown op 'groupnorm'", "did you mean 'group_norm'"),
    (Node("relu"), "op 'relu' needs the input 'input'", "its inputs are input"),
    (Node("relu", (), (X_IN, ("inptu", "x"))), "op 'relu' has no input 'inptu'", "did you mean 'input'?"),
    (Node("relu", (), (X_IN, X_IN)), "input 'input' of op 'relu' is fed more than once", ""),
    (Node("add"), "op 'add' needs at least one input", ""),
    (
        Node("add", (), (("0", "x"), ("2", "x"))),
        "the inputs of op 'add' are numbered 0, 2",
        "count from 0, leave none out",
    ),
    (Node("add", (), (("left", "x"),)), "op 'add' has no input 'left'", "its inputs are numbered from 0"),
]


@pytest.mark.parametrize(("node", "message", "hint"), ONE_STEP)
def test_one_wrong_step(node, message, hint):
    expected = f"a: error: step 'a': {message}"
    if hint:
        expected += f"\n    hint: {hint}"
    assert complaint({"a": node}).startswith(expected)


def test_reading_what_does_not_exist():
    found = complaint({"a": Node("relu", (), (("input", "xx"),))})
    assert found == "a: error: input 'input' of step 'a' reads 'xx', which does not exist\n    hint: did you mean 'x'?"


def test_reading_itself():
    assert complaint({"a": linear("a", out=8)}) == "a: error: steps read each other in a cycle: a -> a"


def test_optional_inputs_may_stay_open():
    ports = (("query", "x"), ("key", "x"), ("value", "x"))
    graph = Graph(X, {"a": Node("multihead_attention", (("num_heads", 2),), ports)}, (("y", "a"),))
    verify(graph)


def test_values_that_python_holds_equal_are_told_apart():
    verify(Graph(X, {"a": linear("x", bias=True, out=1)}, (("y", "a"),)))
    assert "'bias' of op 'linear' must be true or false, not 1" in complaint({"a": linear("x", bias=1, out=1)})
    assert "'out' of op 'linear' must be an integer, not 1.0" in complaint({"a": linear("x", bias=True, out=1.0)})


def test_everything_is_reported_at_once_with_its_place():
    span = Span("net.yaml", 4, 9, "  head: {op: liner}", 5)
    nodes = {
        "late": linear("block.a", out=8),
        "block.a": RELU,
        "head": Node("relu", (), (("input", "blok.a"),), span),
    }
    found = complaint(nodes, (("y", "haed"), ("y", "head")), {"block": "block.b", "head": "late"})
    assert (
        found
        == """\
net.yaml:4:9: error: input 'input' of step 'head' reads 'blok.a', which does not exist
      head: {op: liner}
            ^^^^^
    hint: did you mean 'block.a'?
late: error: step 'late' stands before 'block.a', which it reads
    hint: order the steps
y: error: output 'y' reads 'haed', which does not exist
    hint: did you mean 'head'?
y: error: two outputs are called 'y'
block: error: container 'block' holds 'block.b', which does not exist
    hint: did you mean 'block.a'?
head: error: 'head' cannot name a container
    hint: a step or an input may not have it too"""
    )


def test_a_cycle_is_reported_once_in_the_direction_of_the_values():
    nodes = {"a": Node("add", (), (("0", "x"), ("1", "c"))), "b": linear("a", out=8), "c": linear("b", out=8)}
    assert complaint(nodes) == "a: error: steps read each other in a cycle: a -> b -> c -> a"


def test_a_long_cycle_needs_no_recursion():
    nodes = {f"n{k}": linear(f"n{(k + 1) % 5000}", out=8) for k in range(5000)}
    assert "steps read each other in a cycle: n0 -> n4999 -> n4998" in complaint(nodes)


@pytest.mark.parametrize("i", ["", "a..b", "a.", ".a", "a b", "a-b", "é"])
def test_ids_are_dotted_words(i):
    assert f"'{i}' is not a path\n    hint: letters, digits and _, joined by single dots" in complaint({i: RELU})


def test_inputs_and_steps_share_no_name():
    assert complaint({"x": RELU}, (("y", "x"),)).startswith("x: error: step 'x' has the name of an input")
    assert complaint({"a": RELU}, inputs=X + X) == "x: error: two inputs are called 'x'"


def test_a_graph_needs_an_output():
    assert complaint({"a": RELU}, ()) == "error: model has no outputs"


def test_steps_that_are_known_to_be_sound_are_not_looked_at_again():
    known = {"a": linear("x", out=8), "b": Node("nonsense", (), (("input", "a"),))}
    sound = frozenset(known)
    verify(Graph(X, known, (("y", "b"),)), sound)
    verify(Graph(X, {**known, "c": linear("b", out=8)}, (("y", "c"),), {"d": "c"}), sound)
    for nodes, outputs, wrong in (
        ({**known, "c": linear("b")}, (("y", "c"),), "step 'c': op 'linear' needs 'out'"),
        (
            {**known, "c": linear("e", out=8)},
            (("y", "c"),),
            "input 'input' of step 'c' reads 'e', which does not exist",
        ),
        (known, (("y", "e"),), "output 'y' reads 'e', which does not exist"),
    ):
        with pytest.raises(GraphError) as error:
            verify(Graph(X, nodes, outputs), sound)
        assert wrong in str(error.value)
