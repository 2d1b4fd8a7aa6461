"""Where a value or a gradient stops being a number: the step is named, its place and what it was given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import fx

import assembler as asm
from assembler.compile.watch import diagnose

DEEP = """\
kind: model
name: deep
inputs: {x: [B, 6]}
graph:
  a: {op: linear, out: 6}
  n: {op: batch_norm1d}
  b: relu
  c: {op: linear, out: 6}
  d: log
  e: {op: linear, out: 2}
outputs: {y: e}
"""
LOOP = """\
kind: model
name: refined
inputs: {x: [B, 6]}
graph:
  init: {op: linear, out: 4}
  refine:
    op: loop
    times: 3
    carry: [h]
    from: {h: init, x: x}
    body:
      join: {op: concat, from: [h, x]}
      cell: {op: linear, out: 4}
    outputs: {h: cell}
outputs: {y: refine}
"""
X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fx.GraphModule:
    monkeypatch.chdir(tmp_path)
    Path("deep.yaml").write_text(DEEP)
    Path("loop.yaml").write_text(LOOP)
    return asm.build("deep.yaml")


def positive(deep: fx.GraphModule) -> fx.GraphModule:
    """All that the logarithm is given is above 0."""
    deep.c.weight.data.abs_()
    deep.c.bias.data.fill_(1.0)
    return deep


def test_nothing_is_found_where_all_is_finite(deep: fx.GraphModule) -> None:
    before = {k: v.clone() for k, v in positive(deep).state_dict().items()}
    assert diagnose(deep, X, loss=lambda y: y.square().mean()) is None
    assert all(torch.equal(v, before[k]) for k, v in deep.state_dict().items())
    assert all(p.grad is None for p in deep.parameters()) and "forward" not in vars(deep)


def test_the_first_value_that_is_none(deep: fx.GraphModule) -> None:
    deep.c.weight.data.zero_()
    deep.c.bias.data.fill_(-2.0)
    assert diagnose(deep, X).render() == (
        "deep.yaml:9:6: error: d (log) is the first step whose value is not finite (NaN): it is given values up to 2\n"
        "      d: log\n"
        "         ^^^"
    )


def test_a_weight_that_is_none(deep: fx.GraphModule) -> None:
    positive(deep).a.weight.data[0, 0] = float("inf")
    assert diagnose(deep, X).message == (
        "a (linear) is the first step whose value is not finite (infinite): its weight 'a.weight' is not"
    )


def test_an_input_that_is_none(deep: fx.GraphModule) -> None:
    assert diagnose(deep, X * float("nan")).message == "the input 'x' is not finite"
    assert diagnose(deep, x=X / 0).message == "the input 'x' is not finite"


def test_minus_infinity_that_a_later_step_takes_away_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "mask.yaml"
    file.write_text(
        "kind: model\ninputs: {x: [B, 4]}\ngraph:\n  a: log\n  b: {op: softmax, dim: -1}\noutputs: {y: b}\n"
    )
    module = asm.build(file)
    assert diagnose(module, torch.tensor([[0.0, 1.0, 1.0, 2.0]])) is None
    found = diagnose(module, torch.zeros(1, 4))
    assert found is not None and found.path == "b"


def test_a_step_of_a_body(deep: fx.GraphModule) -> None:
    refined = asm.build("loop.yaml")
    refined.get_parameter("refine.cell.weight").data.fill_(1e30)
    found = diagnose(refined, torch.ones(2, 6))
    assert found.path == "refine.cell" and str(found.span) == "loop.yaml:13:13"
    assert found.message.startswith(
        "refine.cell (linear) is the first step whose value is not finite (infinite): it is"
    )


def test_the_gradient_that_is_none(deep: fx.GraphModule) -> None:
    deep.c.weight.data.zero_()
    deep.c.bias.data.fill_(1e-39)  # its logarithm is finite, and 1 / x is not
    found = diagnose(deep, X, loss=lambda y: y.sum())
    assert found.render() == (
        "deep.yaml:9:6: error: the gradient of its inputs is not finite at d (log), where that of its value is\n"
        "      d: log\n"
        "         ^^^"
    )
