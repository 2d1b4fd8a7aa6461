"""Steps that may be left out, and outputs of blocks that nobody reads."""

from __future__ import annotations

import pytest
import torch

from assembler.errors import RecipeError

BRANCHES = """
    inputs: {x: [B, 4]}
    graph:
      both:
        op: branches
        merge: concat
        body: {p: relu, q: {op: linear, out: 2, if: FLAG}}
"""
GATED = """
    inputs: {x: [B, 4]}
    blocks:
      layer:
        body:
          up: {op: linear, out: 4}
          side: {op: linear, out: 3}
          skip: {op: relu, from: side}
          act: {op: tanh, from: up}
        outputs: {y: act, skip: skip}
    graph:
      layer: {op: layer, repeat: 2}
    outputs: {y: layer, skip: layer.0.skip}
"""


def test_a_step_that_is_left_out_passes_its_input_on(model) -> None:
    found = model("inputs: {x: [B, 4]}\ngraph: {act: {op: relu, if: =1 > 2}, last: {op: tanh, from: act}}")
    x = torch.randn(2, 4)
    assert torch.equal(found(x), x.tanh())


@pytest.mark.parametrize(("flag", "width"), [("true", 6), ("false", 4)])
def test_branches_have_an_arm_less(model, flag: str, width: int) -> None:
    assert model(BRANCHES.replace("FLAG", flag))(torch.randn(2, 4)).shape == (2, width)


def test_what_a_block_gives_out_and_nobody_reads_is_left_out(graph) -> None:
    nodes = graph(GATED).nodes
    assert "layer.0.skip" in nodes and "layer.0.side" in nodes
    assert "layer.1.skip" not in nodes and "layer.1.side" not in nodes


def test_any_other_step_that_nobody_reads_is_a_mistake(graph) -> None:
    with pytest.raises(RecipeError, match=r"nothing reads 'layer\.0\.skip'"):
        graph(GATED.replace(", skip: skip}", "}").replace(", skip: layer.0.skip", ""))
