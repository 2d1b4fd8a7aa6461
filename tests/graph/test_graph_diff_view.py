"""Differences between graphs, the networkx view, and what importing the package costs."""

from __future__ import annotations

import subprocess
import sys

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.graph import Node, TensorType
from assembler.graph.diff import Diff, diff
from assembler.graph.edit import insert_after
from assembler.graph.text import from_text
from assembler.graph.view import to_networkx


def test_no_difference(model):
    assert not diff(model, model)
    assert str(diff(model, model)) == "no difference"
    assert diff(model, model) == Diff()


def test_the_listing_of_many_differences(model, model_text):
    text = model_text.replace("8, 8]", "9, 9]").replace("%stage.1 = relu", "%stage.1 = gelu")
    text = text.replace("head.pool = global_avg_pool(x=%stage.1)", "head.gap = global_max_pool(x=%stage.1)")
    text = text.replace("input=%head.pool", "input=%head.gap").replace("{out = 10}", "{bias = false, out = 12}")
    other = from_text(text.replace(", features = %stage.1", ""))
    assert (
        str(diff(model, other))
        == """\
- head.pool: global_avg_pool(x=%stage.1)
- output features: stage.1
+ head.gap: global_max_pool(x=%stage.1)
~ input image: float32[2, 3, 8, 8] -> float32[2, 3, 9, 9]
~ stage.1: op relu -> gelu
~ head.fc: arg out 10 -> 12
~ head.fc: arg bias (none) -> false
~ head.fc: input input: head.pool -> head.gap"""
    )


def test_values_of_other_types_differ(model):
    found = diff(model.replace("stage.0.norm", eps=1e-3), model.replace("stage.0.norm", eps=0.01))
    assert found.changed == (("stage.0.norm", "arg eps 0.001 -> 0.01"),)


def test_an_insertion_shows_the_moved_edges(model):
    found = diff(model, insert_after(model, "stem", "act", "relu"))
    assert found.added == (("act", "relu(input=%stem)"),)
    assert found.changed == (
        ("stage.0.norm", "input input: stem -> act"),
        ("stage.0", "input 0: stem -> act"),
    )


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_added_one_way_is_removed_the_other(graphs, data):
    a, b = data.draw(graphs()), data.draw(graphs())
    there, back = diff(a, b), diff(b, a)
    assert (there.added, there.removed) == (back.removed, back.added)
    assert bool(there) == (dict(a.nodes) != dict(b.nodes) or dict(a.inputs) != dict(b.inputs) or a.outputs != b.outputs)


def test_the_view_holds_the_whole_graph(model):
    view = to_networkx(model)
    assert nx.is_directed_acyclic_graph(view)
    assert view.graph == {"name": "tiny", "outputs": {"logits": "head.fc", "features": "stage.1"}}
    assert view.nodes["image"] == {"kind": "input", "type": TensorType((2, 3, 8, 8))}
    assert view.nodes["head.fc"] == {"kind": "step", "op": "linear", "args": {"out": 10}}
    assert set(view.in_edges("stage.0", keys=True)) == {
        ("stem", "stage.0", "0"),
        ("stage.0.mix.token", "stage.0", "1"),
    }


def test_the_view_keeps_repeated_reads(model):
    double = from_text('graph "m" (%x: float32[1, 4]) {\n  %a = add(%x, %x)\n  return y = %a\n}\n')
    assert double.nodes["a"] == Node("add", (), (("0", "x"), ("1", "x")))
    assert sorted(to_networkx(double).edges(keys=True)) == [("x", "a", "0"), ("x", "a", "1")]


@pytest.mark.parametrize("heavy", ["torch", "networkx", "optuna", "pyglove", "numpy"])
def test_importing_the_package_is_light(heavy):
    code = f"import sys, assembler.graph; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
