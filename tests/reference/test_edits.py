"""Graphs after edits: valid ones stay valid, and what is broken is refused by name, before any tensor is computed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from broken import broken
from built import graph_of
from drawn import recipes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interpreter import packed

from assembler.compile.lower import lower
from assembler.errors import AssemblerError, GraphError, StepError
from assembler.graph.core import Graph
from assembler.graph.edit import cut, extract, graft, insert_after, prune, remove
from assembler.graph.text import from_text, to_text
from assembler.graph.verify import verify
from assembler.infer.shape import shapes

DRAWN = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck), "database": None}


def refused_or_sound(graph: Graph) -> str:
    """Whether it is refused, with a path, or computes what its types say in both modes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            verify(graph)
            types = shapes(graph)
            module = lower(graph, types)
    except AssemblerError as error:
        assert error.problems
        for p in error.problems:
            named = any(f"'{name}'" in p.message for name in _known(graph))
            assert p.path or p.span or named or p.message == f"{graph.name} has no outputs", p
        return "refused"
    given_ = {}
    for name, kind in graph.inputs:
        size = types[name].shape
        drawn = torch.randint(0, 2, size) if kind.dtype != "float32" else torch.rand(size)
        given_[name] = drawn.to(getattr(torch, kind.dtype))
    try:
        for training in (True, False):
            module.train(training)(**packed(given_))
    except StepError as error:  # dtypes, which torch does not check where there is no data
        assert error.problems[0].path or error.problems[0].span
        return "late"
    return "sound"


def _known(graph: Graph) -> Iterator[str]:
    yield from (*graph.nodes, *graph.input_names, *dict(graph.outputs), *dict(graph.only))


@settings(max_examples=200, **DRAWN)
@given(recipes(), st.data())
def test_a_broken_graph_is_refused_by_name(text: str, data: st.DataObject) -> None:
    refused_or_sound(data.draw(broken(graph_of(text))))


def valid_edits(text: str, pick: Callable[[list[str]], str]) -> None:
    """Edits of a valid graph are valid, and what is undone is undone."""
    graph = graph_of(text)
    types = shapes(graph)
    ends = [types[i] for _, i in graph.outputs]
    assert prune(graph) == graph
    path = pick([*graph.nodes, *graph.names])
    longer = insert_after(graph, path, "inserted", "identity")
    assert [shapes(longer)[i] for _, i in longer.outputs] == ends
    is_read = longer.users()["inserted"] or "inserted" in dict(longer.outputs).values()
    assert (remove(longer, "inserted") if is_read else prune(longer)).fingerprint == graph.fingerprint
    try:
        slot = cut(graph, path)
    except GraphError as error:
        assert f"'{path}'" in str(error)
        return
    part = extract(graph, path, types)
    assert shapes(part)[part.outputs[0][1]] == types[slot.output]
    assert from_text(to_text(part)) == part
    assert graft(graph, path, part) == graph
    if slot.sides and slot.ids == (path,):
        with pytest.raises(GraphError, match=f"cannot take '{path}' out: it joins"):
            remove(graph, path)
        return
    verify(remove(graph, path))
    if path not in graph.nodes or len(graph.nodes[path].inputs) == 1 or len(graph.region(path)) > 1:
        assert graph.replace(path, op="identity").fingerprint != remove(graph, path).fingerprint
    if types[slot.source] == types[slot.output]:
        assert [shapes(remove(graph, path))[i] for _, i in remove(graph, path).outputs] == ends


@settings(max_examples=60, **DRAWN)
@given(recipes(), st.data())
def test_valid_edits_keep_graphs_valid(text: str, data: st.DataObject) -> None:
    valid_edits(text, lambda paths: data.draw(st.sampled_from(paths)))


@pytest.mark.slow
@settings(max_examples=2000, **{**DRAWN, "derandomize": False})
@given(recipes(), st.data())
def test_edits_of_many(text: str, data: st.DataObject) -> None:
    valid_edits(text, lambda paths: data.draw(st.sampled_from(paths)))
    refused_or_sound(data.draw(broken(graph_of(text))))
