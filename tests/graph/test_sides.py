"""Side inputs of a slot: which value is the stream, parts that read more, less or other values, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assembler.errors import GraphError
from assembler.graph import Graph, Node, TensorType
from assembler.graph.balance import balanced, repeated
from assembler.graph.cuts import cuts
from assembler.graph.edit import cut, extract, graft, remove
from assembler.graph.sides import side_names, side_paths
from assembler.graph.text import from_text

T = TensorType((2, 8))


def masked(count: int) -> Graph:
    """A stem, `count` blocks that read the stream and a mask that comes of another input, a head."""
    nodes = {"stem": Node("linear", (("out", 8),), (("input", "x"),)), "text.mask": Node("relu", (), (("input", "m"),))}
    last = "stem"
    for n in range(count):
        path = f"block.{n}"
        nodes |= {
            f"{path}.norm": Node("layer_norm", (), (("input", last),)),
            f"{path}.hide": Node("mul", (), (("0", f"{path}.norm"), ("1", "text.mask"))),
            path: Node("add", (), (("0", last), ("1", f"{path}.hide"))),
        }
        last = path
    nodes["head"] = Node("linear", (("out", 8),), (("input", last),))
    return Graph((("x", T), ("m", T)), nodes, (("y", "head"),), {"text": "text.mask"})


TYPES = dict.fromkeys(masked(3).nodes, T)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_block_carries_the_stream_and_reads_the_mask_beside(count: int) -> None:
    graph = masked(count)
    for n in range(count):
        slot = cut(graph, f"block.{n}")
        assert (slot.source, slot.sides) == (f"block.{n - 1}" if n else "stem", ("text.mask",))


def test_blocks_that_read_a_mask_follow_each_other() -> None:
    count, graph = 3, masked(3)
    found = cuts(graph)
    assert [s.path for s in repeated(found)] == [f"block.{n}" for n in range(count)]
    assert [s.path for s in found.chain] == ["stem", *(f"block.{n}" for n in range(count)), "head"]
    assert {s.sides for s in found.chain if s.path.startswith("block")} == {("text.mask",)}


def test_a_stream_that_is_an_output_too_is_the_stream_all_the_same() -> None:
    graph = masked(2)
    graph = replace(graph, outputs=(*graph.outputs, ("states", "stem"), ("more", "block.0")))
    assert [cut(graph, f"block.{n}").source for n in range(2)] == ["stem", "block.0"]


def test_what_is_computed_of_the_stream_for_all_blocks_is_a_side_input() -> None:
    """The bias of T5, which has the stream's shape, or rotary cosines."""
    graph = masked(2)
    bias = {"text.mask": replace(graph.nodes["text.mask"], inputs=(("input", "stem"),))}
    nodes = {"stem": graph.nodes["stem"], **bias, **{i: n for i, n in graph if i not in ("stem", "text.mask")}}
    graph = Graph((("x", T),), nodes, graph.outputs)
    assert cut(graph, "block.0").source == "stem" and cut(graph, "block.0").sides == ("text.mask",)


def test_a_run_of_blocks_and_the_slots_of_a_number() -> None:
    graph = masked(4)
    ones = dict.fromkeys(graph.nodes, 1)
    slots = balanced(graph, cuts(graph), ones, 2)
    assert [s.path for s in slots] == ["stem..block.1", "block.2..head"]
    assert [(s.source, s.sides) for s in slots] == [("x", ("text.mask",)), ("block.1", ("text.mask",))]
    assert all(cut(graph, s.path) == s for s in slots)
    part = extract(graph, "block.2..head", dict.fromkeys(graph.nodes, T))
    assert part.input_names == ("x", "text")
    assert graft(graph, "block.2..head", part) == graph


def test_steps_that_serve_one_block_alone_belong_to_it() -> None:
    text = """\
    graph "g" (%x: float32[2, 8], %c: float32[2, 8]) {
      %stem = linear(input=%x) {out = 8}
      %block.0.shift = linear(input=%c) {out = 8}
      %block.0 = add(%stem, %block.0.shift)
      %block.1.shift = linear(input=%c) {out = 8}
      %block.1 = add(%block.0, %block.1.shift)
      return y = %block.1
    }
    """
    graph = from_text(text)
    assert [(s.path, s.sides) for s in cuts(graph).chain] == [("stem", ()), ("block.0", ("c",)), ("block.1", ("c",))]
    assert cut(graph, "stem..block.0").ids == ("stem", "block.0.shift", "block.0")


def test_a_part_may_leave_side_inputs_aside_and_read_others() -> None:
    graph = masked(3)
    plain = Graph((("x", T),), {"root": Node("relu", (), (("input", "x"),))}, (("y", "root"),))
    made = graft(graph, "block.1", plain)
    assert made.nodes["block.1"].sources == ("block.0",)
    other = Graph(
        (("x", T), ("stem", T), ("m", T)),
        {"more": Node("add", (), (("0", "x"), ("1", "m"))), "root": Node("mul", (), (("0", "more"), ("1", "stem")))},
        (("y", "root"),),
    )
    made = graft(made, "block.1", other)
    assert made.nodes["block.1.more"].sources == ("block.0", "m")
    assert made.nodes["block.1"].sources == ("block.1.more", "stem")
    assert graft(made, "block.1", extract(graph, "block.1", TYPES)) == graph


def test_what_a_part_reads_may_stand_behind_the_slot() -> None:
    graph = masked(1)
    late = Graph(graph.inputs, {**{i: n for i, n in graph if i != "text.mask"}}, graph.outputs)
    late = graft(graph, "block.0", Graph((("x", T),), {}, (("y", "x"),)))
    nodes = {**late.nodes, "text.mask": graph.nodes["text.mask"]}
    late = replace(late, nodes={i: nodes[i] for i in ("stem", "head", "text.mask")})
    part = Graph((("x", T), ("text", T)), {"both": Node("add", (), (("0", "x"), ("1", "text")))}, (("y", "both"),))
    made = graft(late, "head", part)
    assert list(made.nodes) == ["stem", "text.mask", "head.both"]


def test_names_of_side_inputs_say_which_values_they_are() -> None:
    graph = masked(2)
    assert side_paths(graph, ["text.mask", "stem"], ("block.0",)) == {"text.mask": "text", "stem": "stem"}
    assert side_names(graph, ["text.mask"], ("block.0",), {"text"}) == {"text.mask": "text_"}
    assert side_names(replace(graph, names={}), ["text.mask"], ("block.0",), ()) == {"text.mask": "text__mask"}
    clash = replace(graph, nodes={i.replace("hide", "text"): n for i, n in graph if "1" not in i and i != "head"})
    nodes = {i: replace(n, inputs=tuple((p, s.replace("hide", "text")) for p, s in n.inputs)) for i, n in clash}
    clash = Graph(graph.inputs, nodes, (("y", "block.0"),), graph.names)
    part = extract(clash, "block.0", TYPES)
    assert part.input_names == ("x", "text_") and graft(clash, "block.0", part) == clash


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("block__1__norm", "a part for 'block.1' reads 'block.1.norm', which is a step of what it replaces"),
        ("head", "steps read each other in a cycle: block.1 -> head -> block.1"),
        ("text__msk", "a part for 'block.1' reads 'text__msk', which model does not have\n    hint: did you mean"),
    ],
)
def test_what_a_part_cannot_read(side: str, message: str) -> None:
    part = Graph((("x", T), (side, T)), {"root": Node("add", (), (("0", "x"), ("1", side)))}, (("y", "root"),))
    with pytest.raises(GraphError) as error:
        graft(masked(2), "block.1", part)
    assert message in str(error.value)


def test_a_block_is_taken_out_and_its_side_inputs_stay() -> None:
    made = remove(masked(2), "block.0")
    assert made.nodes["block.1"].sources == ("stem", "block.1.hide")
    assert "text.mask" in made.nodes
