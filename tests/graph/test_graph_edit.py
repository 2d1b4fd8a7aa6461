"""Edits: what they change, what they share with the old graph, and that extract and graft are inverse."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import GraphError, Span
from assembler.graph import Graph, Node, TensorType
from assembler.graph.diff import diff
from assembler.graph.edit import (
    Slot,
    cut,
    extract,
    graft,
    inner_id,
    insert_after,
    outer_id,
    prune,
    remove,
    step,
    with_outputs,
)
from assembler.graph.text import from_text, to_text
from assembler.graph.verify import verify

T = TensorType((2, 8, 8, 8))


def untouched(old, new, but=()):
    return all(new.nodes[i] is node for i, node in old if i in new.nodes and i not in but)


def test_an_argument_changes_in_place(model):
    new = model.replace("stem", kernel_size=5, padding=2)
    assert str(diff(model, new)) == "~ stem: arg kernel_size 3 -> 5\n~ stem: arg padding 1 -> 2"
    assert untouched(model, new, but={"stem"})
    assert model.nodes["stem"].arg("kernel_size") == 3
    assert new.names == model.names


def test_arguments_are_brought_into_canonical_form(model):
    assert model.replace("stem", padding=1, kernel_size=3, stride=1, out_channels=8) == model
    assert model.replace("stem", kernel_size=[3, 3]).nodes["stem"].arg("kernel_size") == (3, 3)
    assert model.replace("stage.0.norm", eps=1).nodes["stage.0.norm"].args == (("eps", 1.0),)


def test_an_op_changes_and_brings_its_own_arguments(model):
    new = model.replace("stage.0.mix.token", op="dwconv", kernel_size=5)
    assert new.nodes["stage.0.mix.token"] == Node("dwconv", (("kernel_size", 5),), (("x", "stage.0.norm"),))
    assert list(new.nodes) == list(model.nodes)


def test_the_span_stays():
    span = Span("net.yaml", 3, 5)
    graph = Graph((("x", T),), {"a": Node("relu", (), (("input", "x"),), span)}, (("y", "a"),))
    assert graph.replace("a", op="gelu").nodes["a"].span == span


def test_a_container_is_replaced_as_a_whole(model):
    new = model.replace("stage.0", op="identity")
    assert new.nodes["stage.0"] == Node("identity", (), (("input", "stem"),))
    assert list(new.nodes) == ["stem", "stage.0", "stage.1", "head.pool", "head.fc"]
    assert new.names == {"stage": "stage.1", "head": "head.fc"}
    assert untouched(model, new, but={"stage.0"})


def test_a_container_without_a_step_of_its_own_becomes_one(model):
    new = model.replace("head", op="flatten")
    assert new.nodes["head"].sources == ("stage.1",)
    assert dict(new.outputs) == {"logits": "head", "features": "stage.1"}
    assert "head" not in new.names


def test_the_arguments_of_a_residual_are_those_of_its_sum(model):
    with pytest.raises(GraphError, match="op 'add' has no argument 'dim'"):
        model.replace("stage.0", dim=1)


@pytest.mark.parametrize(
    ("path", "change", "message", "hint"),
    [
        ("stem", {"op": "conv2"}, "stem: error: step 'stem': unknown op 'conv2'", "did you mean 'conv2d' or"),
        ("stem", {"outt": 3}, "stem: error: step 'stem': op 'conv2d' has no argument 'outt'", "did you mean 'out'?"),
        ("stem", {"out": {1, 2}}, "error: argument 'out' of op 'conv2d' cannot be {1, 2}", "scalars and lists can"),
        (
            "stage.0",
            {"op": "sub"},
            "stage.0: error: step 'stage.0': op 'sub' needs the input 'b'",
            "its inputs are a, b",
        ),
        ("stage.2", {"op": "relu"}, "error: there is no step 'stage.2' in tiny", "did you mean 'stage.1' or"),
        ("head", {"dim": 3}, "head: error: 'head' is a container or an input and has no arguments", "give an op"),
    ],
)
def test_replacements_that_are_refused(model, path, change, message, hint):
    with pytest.raises(GraphError) as error:
        model.replace(path, **change)
    assert str(error.value).startswith(f"{message}\n    hint: {hint}")


def test_an_input_is_no_slot(model):
    with pytest.raises(GraphError) as error:
        model.replace("image", op="relu")
    assert str(error.value) == "image: error: cannot cut 'image': it holds no steps"


def test_a_sum_cannot_become_an_op_with_one_input():
    graph = Graph((("x", T),), {"a": step("relu", {}, ("x",)), "b": step("add", {}, ("x", "a"))}, (("y", "b"),))
    with pytest.raises(GraphError) as error:
        graph.replace("b", op="relu")
    assert str(error.value) == "b: error: step 'b': op 'relu' has no input '1'\n    hint: its inputs are input"


def test_insert_after_a_step(model):
    new = insert_after(model, "stage.0", "stage.0_act", "gelu")
    assert new.nodes["stage.0_act"].sources == ("stage.0",)
    assert new.nodes["stage.1"].sources == ("stage.0_act",)
    assert list(new.nodes).index("stage.0_act") == list(new.nodes).index("stage.0") + 1
    assert untouched(model, new, but={"stage.1"})


def test_insert_at_the_end_of_a_container_moves_its_value(model):
    new = insert_after(model, "stage", "stage.2", "gelu")
    assert (new.names["stage"], new.names["head"]) == ("stage.2", "head.fc")
    assert dict(new.outputs)["features"] == "stage.2"
    assert insert_after(model, "stage", "act", "gelu").names["stage"] == "stage.1"


def test_insert_after_an_input(model):
    new = insert_after(model, "image", "scale", "layer_scale")
    assert next(iter(new.nodes)) == "scale"
    assert new.nodes["stem"].sources == ("scale",)


def test_insert_refuses_a_taken_id(model):
    with pytest.raises(GraphError, match="there is a step 'head' already"):
        insert_after(model, "stem", "head", "relu")


def test_remove_bypasses_a_step_and_a_container(model):
    assert remove(model, "stage.0.norm").nodes["stage.0.mix.token"].sources == ("stem",)
    new = remove(model, "stage.0")
    assert new.nodes["stage.1"].sources == ("stem",)
    assert "stage.0" not in new.names
    last = remove(model, "stage.1")
    assert last.names["stage"] == "stage.0"
    assert dict(last.outputs)["features"] == "stage.0"


def test_remove_what_reads_two_values_is_refused():
    nodes = {"a": step("relu", {}, ("x",)), "b.sum": step("add", {}, ("x", "a")), "c": step("relu", {}, ("b.sum",))}
    graph = Graph((("x", T),), nodes, (("y", "c"),))
    with pytest.raises(GraphError) as error:
        remove(graph, "b.sum")
    assert (
        str(error.value)
        == """\
b.sum: error: cannot take 'b.sum' out: it joins x and a, and either could be passed on
    hint: take the container out that holds it, or put another step there"""
    )


def test_cut_finds_the_one_way_in_and_out(model):
    ids = ("stage.0.norm", "stage.0.mix.token", "stage.0")
    assert cut(model, "stage.0") == Slot("stage.0", ids, "stem", "stage.0")
    assert cut(model, "stage") == Slot("stage", (*ids, "stage.1"), "stem", "stage.1")


def test_cut_lists_every_edge_that_crosses_and_what_could_be_cut():
    graph = from_text("""\
graph "m" (%x: float32[2, 8]) {
  %stem = linear(input=%x) {out = 8}
  %block.in.q = linear(input=%stem) {out = 8}
  %block.in.k = linear(input=%stem) {out = 8}
  %block.out = add(%block.in.q, %block.in.k)
  %head = linear(input=%block.out) {out = 8}
  return y = %head, k = %head
}
""")
    with pytest.raises(GraphError) as error:
        cut(graph, "block.in")
    assert (
        str(error.value)
        == """\
block.in: error: cannot cut 'block.in': 2 values leave, of a slot one does
    enters: stem -> block.in.q
    enters: stem -> block.in.k
    leaves: block.in.q -> block.out
    leaves: block.in.k -> block.out
    hint: 'block' can be cut"""
    )
    with pytest.raises(GraphError, match=r"leaves: block\.out -> output k"):
        cut(with_outputs(graph, {"k": "block.out", "q": "block.in.q"}), "block")


def test_extract_is_a_model_of_the_region(model):
    part = extract(model, "stage.0", {"stem": T})
    assert (
        to_text(part)
        == """\
graph "tiny.stage.0" (%x: float32[2, 8, 8, 8]) {
  %norm = batch_norm2d(input=%x)
  %mix.token = conv2d(input=%norm) {bias = false, kernel_size = [3, 1], out = 8, padding = "same"}
  %root = add(%x, %mix.token)
  name mix = %mix.token
  return y = %root
}
"""
    )
    assert [outer_id("stage.0", i) for i in part.nodes] == list(cut(model, "stage.0").ids)


def test_extract_says_what_it_lacks(model):
    with pytest.raises(GraphError, match=r"the type of 'stem', which enters 'stage\.0', is not given"):
        extract(model, "stage.0", {})
    assert extract(model, "stem", {}).inputs == (("x", TensorType((2, 3, 8, 8))),)


def test_extract_steps_out_of_the_way_of_names():
    graph = Graph((("x", T),), {"s.x": step("relu", {}, ("x",))}, (("y", "s.x"),), {"s": "s.x"})
    part = extract(graph, "s", {})
    assert part.input_names == ("x_",)
    nodes = {"s.x": step("relu", {}, ("x",)), "s.root": step("gelu", {}, ("s.x",))}
    with pytest.raises(GraphError, match=r"'s\.root' stands in the way"):
        extract(Graph((("x", T),), nodes, (("y", "s.root"),), {"s": "s.root"}), "s", {})
    with pytest.raises(GraphError, match=r"'s\.root' stands in the way"):
        extract(Graph((("x", T),), {**nodes, "s": step("relu", {}, ("s.root",))}, (("y", "s"),)), "s", {})


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_graft_inverts_extract(graphs, data):
    graph = data.draw(graphs(most=9))
    for path in [*graph.nodes, *graph.names]:
        try:
            slot = cut(graph, path)
        except GraphError:
            continue
        part = extract(graph, path, {i: T for i in graph.nodes})
        verify(part)
        assert [inner_id(path, i) for i in slot.ids] == list(part.nodes)
        back = graft(graph, path, part)
        assert back == graph
        assert back.names == {p: slot.output if p == path else i for p, i in graph.names.items()}
        assert all(back.nodes[i] is node for i, node in graph if i not in slot.ids)


def test_graft_of_another_part(model):
    part = from_text("""\
graph "part" (%in: float32[2, 8, 8, 8]) {
  %a.conv = conv2d(input=%in) {kernel_size = 1, out = 8}
  %act = relu(input=%a.conv)
  name a = %a.conv
  return out = %act
}
""")
    new = graft(model, "stage.0", part)
    assert list(new.nodes)[:4] == ["stem", "stage.0.a.conv", "stage.0.act", "stage.1"]
    assert new.nodes["stage.0.a.conv"].sources == ("stem",)
    assert new.nodes["stage.1"].sources == ("stage.0.act",)
    expected = {"stage": "stage.1", "head": "head.fc", "stage.0": "stage.0.act", "stage.0.a": "stage.0.a.conv"}
    assert new.names == expected
    assert graft(new, "stage.0", extract(model, "stage.0", {"stem": T})) == model


def test_graft_needs_one_input_and_one_output(model):
    with pytest.raises(GraphError, match="a part has an input and one output, the one for 'stem' has 1 inputs and 2"):
        graft(model, "stem", model)


def test_prune_and_outputs(model):
    short = with_outputs(model, {"z": "stage"})
    assert short.outputs == (("z", "stage.1"),)
    assert len(short) == len(model)
    pruned = prune(short)
    assert list(pruned.nodes) == list(model.nodes)[:5]
    assert pruned.names == {"stage.0.mix": "stage.0.mix.token", "stage": "stage.1"}
    assert prune(pruned) == pruned
    with pytest.raises(GraphError, match="there is no step 'stag' in tiny"):
        with_outputs(model, {"z": "stag"})


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_pruning_leaves_what_outputs_read(graphs, data):
    graph = prune(data.draw(graphs()))
    read = {s for _, node in graph for s in node.sources} | {i for _, i in graph.outputs}
    assert set(graph.nodes) <= read
