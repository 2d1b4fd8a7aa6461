"""How parameters begin, said in the recipe."""

from __future__ import annotations

import pytest
import torch

from assembler.compile.lower import lower
from assembler.errors import GraphError, RecipeError
from assembler.graph.diff import diff

TEXT = """
    inputs: {x: [B, 64]}
    initializers: {linear.weight: {name: normal, std: 0.02}, linear.bias: zeros}
    graph:
      one: {op: linear, out: 64}
      two:
        body: {into: {op: linear, out: 64}, out: {op: linear, out: 64}}
        initializers: {weight: {name: constant, val: =1/4}}
      last: {op: linear, out: 4, initializers: {weight: zeros}}
      norm: layer_norm
"""


def test_a_steps_own_initialisers_go_before_its_containers_and_these_before_the_models(model) -> None:
    found = model(TEXT)
    assert 0.018 < found.one.weight.std() < 0.022 and not found.one.bias.any()
    assert torch.equal(found.two.into.weight, torch.full((64, 64), 0.25))
    assert not found.last.weight.any() and not found.two.out.bias.any()
    assert torch.equal(found.norm.weight, torch.ones(4))


def test_they_are_drawn_from_the_steps_own_seed(graph) -> None:
    one, other = lower(graph(TEXT), seed=1), lower(graph(TEXT), seed=2)
    assert torch.equal(one.one.weight, lower(graph(TEXT), seed=1).one.weight)
    assert not torch.equal(one.one.weight, other.one.weight)


def test_they_are_part_of_the_graph(graph) -> None:
    whole, other = graph(TEXT), graph(TEXT.replace("std: 0.02", "std: 0.01"))
    assert whole.fingerprint != other.fingerprint
    assert "one: init weight" in str(diff(whole, other))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: normal", "name: norml", "unknown initializer 'norml'"),
        ("std: 0.02", "sdt: 0.02", "initializer 'normal' has no argument 'sdt'"),
        ("linear.bias: zeros", "linaer.bias: zeros", "no step is a 'linaer'"),
        ("{weight: zeros}", "[zeros]", "'initializers' is a mapping of parameters to initialisers"),
    ],
)
def test_mistakes_are_named_with_their_place(graph, old: str, new: str, said: str) -> None:
    with pytest.raises(RecipeError) as error:
        graph(TEXT.replace(old, new))
    problem = error.value.problems[0]
    assert problem.message == said and problem.span is not None and problem.hint


def test_an_op_that_a_change_took_out_needs_no_value(graph) -> None:
    assert graph(TEXT.replace("linear.bias: zeros", "linear.bias: zeros, conv2d.bias: zeros")) == graph(TEXT)


def test_a_parameter_that_a_step_lacks_is_named_by_path(graph) -> None:
    with pytest.raises(GraphError, match="'last' has no parameter 'wieght' to initialise") as error:
        lower(graph(TEXT.replace("{weight: zeros}", "{wieght: zeros}")))
    assert error.value.problems[0].hint == "did you mean 'weight'?"
