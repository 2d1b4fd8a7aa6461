from __future__ import annotations

import make_run
from page import parse

from assembler.graph.core import Graph, Node, TensorType
from assembler.report.draw import Style, draw_graph
from assembler.report.outline import outline, tokens

X = (("x", TensorType((1, 8))),)


def chain(*paths: str) -> Graph:
    nodes, last = {}, "x"
    for path in paths:
        nodes[path] = Node("relu", (), (("input", last),))
        last = path
    return Graph(X, nodes, (("y", last),))


def test_numbers_belong_to_the_name_before_them() -> None:
    assert tokens("stage.2.block.0.mix.token") == ["stage.2", "block.0", "mix", "token"]


def test_the_outline_of_a_residual_network() -> None:
    steps = outline(make_run.winner(), ("stage.0", "stage.1"))
    assert [s.label for s in steps] == ["stem", "stage.0", "stage.1", "stage.2", "norm", "pool", "head"]
    assert [(c.label, c.times) for c in steps[1].children] == [("down", 1), ("block.0 … 1", 2)]
    assert [c.path for c in steps[1].children[1].children][-1] == "stage.0.block.0"  # the add, at its container's path


def test_equal_copies_merge_but_never_a_slot() -> None:
    graph = chain(*(f"stage.{i}.block.{j}" for i in range(3) for j in range(2)))
    assert [(s.label, s.times) for s in outline(graph)] == [("stage.0 … 2", 3)]
    assert [s.times for s in outline(graph, ("stage.1",))] == [1, 1, 1]


def test_crowded_graphs_are_cut_in_the_middle_and_closed() -> None:
    steps = outline(chain(*(f"n{i}" for i in range(500))), most=20)
    assert len(steps) == 21 and steps[10].label == "480 more steps"
    deep = outline(chain(*(f"a{i}.b{j}" for i in range(15) for j in range(4))), most=30)
    assert 15 < sum(1 for s in deep for _ in s.walk()) <= 30


def test_a_very_deep_path_does_not_break_the_drawing() -> None:
    drawing = parse(draw_graph(chain(".".join("abc" * 2000), "b")))
    assert drawing.all("svg")


def test_one_node_and_none() -> None:
    assert "relu" in parse(draw_graph(chain("a"))).text
    assert parse(draw_graph(Graph(X, {}, (("y", "x"),)))).all("svg")


def test_a_standalone_drawing_carries_its_colours_for_both_schemes() -> None:
    drawing = parse(draw_graph(make_run.winner(), standalone=True)).all("svg")[0]
    style = drawing.all("style")[0].text
    assert "--c0" in style and "prefers-color-scheme:dark" in style
    assert drawing.attributes["xmlns"] == "http://www.w3.org/2000/svg"


def test_notes_and_slots_are_written() -> None:
    drawing = parse(draw_graph(make_run.winner(), style=Style({"head": "linear"}, {"pool": "1.2 k"})))
    assert "1.2 k" in drawing.text
    assert "slot head = linear: 1 steps" in [t.text for t in drawing.all("title")]


def test_a_wide_column_breaks_a_chain_into_columns_and_a_narrow_one_does_not() -> None:
    graph = chain(*(f"step{i}" for i in range(12)))
    wide, narrow = (parse(draw_graph(graph, width=w)).all("svg")[0].attributes for w in (1000, 340))
    assert float(wide["width"]) > 340 > float(narrow["width"])
    assert float(wide["height"]) < float(narrow["height"])
