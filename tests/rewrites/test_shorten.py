"""Fewer blocks: which stay, under which names, and where there is nothing to shorten."""

from __future__ import annotations

import pytest
import torch

import assembler as asm
from assembler.errors import AssemblerError
from assembler.graph.edit import extract, graft
from assembler.infer.shape import shapes
from assembler.recipe.document import parse
from assembler.rewrites.shorten import shallow
from assembler.wiring.build import build

NET = """
kind: model
inputs: {x: [B, 6], mask: [B, 6]}
graph:
  begin: {op: relu, from: x}
  stage:
    repeat: 2
    body:
      block:
        repeat: 4
        body: {mix: {op: residual, body: {fc: {op: linear, out: 6}, seen: {op: mul, from: [fc, mask]}}}}
  head: {op: linear, out: 2, from: stage}
outputs: {y: head}
"""


def blocks(graph: asm.Graph) -> list[str]:
    return sorted({".".join(i.split(".")[:4]) for i in graph.nodes if i.startswith("stage")})


@pytest.mark.parametrize(
    ("rewrite", "left"),
    [
        ("shorten", ["0"]),
        ({"rewrite": "shorten", "at": "stage.*.block"}, ["0", "0"]),
        ({"rewrite": "shorten", "blocks": 2}, ["0", "1", "0", "1"]),
        ({"rewrite": "shorten", "blocks": 2, "keep": "spread"}, ["0", "2", "0", "2"]),
        (
            {"rewrite": "shorten", "blocks": 3, "keep": "spread", "at": "stage.1.block"},
            ["0", "1", "2", "3", "0", "1", "2"],
        ),
    ],
)
def test_blocks_that_stay_keep_their_names(rewrite: object, left: list[str]) -> None:
    graph = asm.rewrite(build(parse(NET).model), rewrite)  # type: ignore[arg-type]
    assert [path.split(".")[3] for path in blocks(graph)] == left


def test_weights_of_blocks_that_stay_go_along_and_side_inputs_too() -> None:
    module = asm.build(parse(NET))
    small = asm.rewrite(module, {"rewrite": "shorten", "at": "stage.*.block"})
    x, mask = torch.randn(3, 6), torch.ones(3, 6)
    want = x.relu()
    for path in ("stage.0.block.0.mix.fc", "stage.1.block.0.mix.fc"):
        want = want + module.get_submodule(path)(want) * mask
    assert torch.allclose(small(x, mask), module.get_submodule("head")(want), atol=1e-6)


def test_there_is_nothing_to_shorten_below_the_blocks_there_are() -> None:
    with pytest.raises(AssemblerError, match="there is no site for shorten"):
        asm.rewrite(build(parse(NET).model), {"rewrite": "shorten", "blocks": 4})


@pytest.mark.parametrize(("slots", "left"), [(["stage.0"], 5), (["stage.0", "stage.1"], 2), (["begin..stage.1"], 4)])
def test_slots_are_made_shallow_at_their_outermost_repeated_blocks(slots: list[str], left: int) -> None:
    found = shallow(build(parse(NET).model), slots, 1)
    assert len([i for i in found.nodes if i.endswith(".fc")]) == left


def test_of_a_container_that_runs_cut_through_each_keeps_blocks_of_its_own() -> None:
    graph, runs = build(parse(NET).model), ["begin..stage.0.block.1", "stage.0.block.2..stage.1.block.2"]
    small = shallow(graph, runs, 1)
    assert blocks(small) == ["stage.0.block.0", "stage.0.block.2", "stage.1.block.0", "stage.1.block.3"]
    types = shapes(graph)
    for run in runs:
        small = graft(small, run, extract(graph, run, types))
    assert small.fingerprint == graph.fingerprint


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        (["head"], "no slot of .* holds several .*{vars.depth: 1} for instance$"),
        (["begin..stage.0.block.0", "stage.0.block.1"], "or of an imported one {stage.0.block.1: identity}"),
    ],
)
def test_slots_without_several_blocks_say_so(slots: list[str], said: str) -> None:
    with pytest.raises(AssemblerError, match=f"(?s){said}"):
        shallow(build(parse(NET).model), slots, 1)


def test_slots_that_have_no_more_blocks_than_are_kept_say_so() -> None:
    said = "no slot of .* has more than 4 blocks that repeat, so `blocks: 4` leaves none out"
    with pytest.raises(AssemblerError, match=f"(?s){said}.*from 1 to 3"):
        shallow(build(parse(NET).model), ["stage.0", "stage.1"], 4)
