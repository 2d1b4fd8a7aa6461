"""Graphs that run other steps in training than in evaluation."""

from __future__ import annotations

import copy

import pytest
import torch

from assembler.errors import InputError
from assembler.graph.modes import in_mode
from assembler.infer.cost import total, train_flops

TEXT = """
    inputs: {x: [B, 4], label: {shape: [B], dtype: int64, when: train}}
    graph:
      trunk: {op: linear, out: 8, from: x}
      wide: {op: linear, out: 3}
      narrow: {op: linear, out: 3, from: trunk}
      chosen: {op: switch, from: {train: wide, eval: narrow}}
      loss: {op: cross_entropy, from: {value: wide, target: label}}
    outputs: {logits: chosen, loss: {from: loss, when: train}}
"""


def test_each_mode_runs_its_own_steps(model) -> None:
    found, x, label = model(TEXT), torch.randn(2, 4), torch.tensor([0, 2])
    training, evaluation = found.train()(x, label), found.eval()(x)
    torch.testing.assert_close(training["logits"], found.wide(found.trunk(x)))
    torch.testing.assert_close(training["loss"], torch.nn.functional.cross_entropy(training["logits"], label))
    assert set(evaluation) == {"logits"}
    torch.testing.assert_close(evaluation["logits"], found.narrow(found.trunk(x)))


def test_the_graph_of_a_mode_has_nothing_of_the_other(graph) -> None:
    whole = graph(TEXT)
    assert list(in_mode(whole, "eval").nodes) == ["trunk", "narrow"]
    assert in_mode(whole, "eval").input_names == ("x",)
    assert list(in_mode(whole, "train").nodes) == ["trunk", "wide", "loss"]
    assert in_mode(whole, "train").outputs == (("logits", "wide"), ("loss", "loss"))


def test_costs_are_those_of_the_mode(graph) -> None:
    assert total(graph(TEXT)).params == 4 * 8 + 8 + 8 * 3 + 3
    assert train_flops(graph(TEXT)) == train_flops(in_mode(graph(TEXT), "train"))


def test_what_a_mode_needs_is_asked_for(model) -> None:
    with pytest.raises(InputError, match="the model needs label in training") as error:
        model(TEXT).train()(torch.randn(2, 4))
    assert error.value.problems[0].hint == "it takes x, label"


def test_copies_train_their_own_weights(model) -> None:
    found = model(TEXT)
    twin = copy.deepcopy(found)
    twin.trunk.weight.data.zero_()
    x = torch.randn(2, 4)
    assert not torch.equal(found.eval()(x)["logits"], twin.eval()(x)["logits"])
    assert torch.equal(twin.eval()(x)["logits"], twin.narrow(twin.trunk(x)))


def test_it_compiles_and_exports(model) -> None:
    found, x = model(TEXT).eval(), torch.randn(2, 4)
    wanted = found(x)["logits"]
    torch.testing.assert_close(torch.compile(found, backend="eager", fullgraph=True)(x)["logits"], wanted)
    torch.testing.assert_close(torch.export.export(found, (x,)).module()(x)["logits"], wanted)


def test_a_call_by_position_is_told_which_input_the_mode_does_not_take(model) -> None:
    found = model("""
        inputs: {noise: {shape: [B, 4], when: train}, point: [B, 4]}
        graph:
          drawn: {op: linear, out: 5, from: noise}
          made: {op: linear, out: 5, from: point}
        outputs: {made: made, drawn: {from: drawn, when: train}}
    """)
    with pytest.raises(InputError) as error:
        found.eval()(torch.randn(2, 4))
    assert str(error.value) == (
        "error: the model needs point in evaluation\n"
        "    hint: the first argument is 'noise', which evaluation does not take: give by name what it does, point=..."
    )
    assert found(point=torch.randn(2, 4))["made"].shape == (2, 5)
