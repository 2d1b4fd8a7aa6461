"""Weights as values of objectives and claims, and patterns that read one value of each copy."""

from __future__ import annotations

import pytest
import torch

import assembler as asm
from assembler.errors import RecipeError
from assembler.graph.values import matching, with_items
from assembler.infer.batch import batch_sizes
from assembler.infer.shape import shapes
from assembler.pipeline.checking.fits import check as check_fits
from assembler.pipeline.run import run_recipe
from assembler.pipeline.spec import read
from assembler.recipe.document import parse
from assembler.train.spread import spread

MODEL = """
kind: model
inputs: {x: [B, 5, 8]}
graph:
  block:
    repeat: 3
    body:
      norm: layer_norm
      mix: {op: dot_product_attention, num_heads: 2, from: {q: norm, k: norm, v: norm}}
      fc: {op: linear, out: 8}
  rnn: {op: lstm, out: 4, batch_first: true}
outputs: {y: rnn}
"""


def test_a_weight_is_a_value_of_its_own_shape_that_no_batch_changes() -> None:
    graph = with_items(asm.graph(parse(MODEL, "m.yaml")), ["block.1.fc.weight", "rnn.weight_ih_l0", "rnn.hidden"])
    types = shapes(graph)
    assert types["block.1.fc.weight"].shape == (8, 8) and types["rnn.weight_ih_l0"].shape == (16, 8)
    assert types["rnn.hidden"].shape[-1] == 4
    sizes = batch_sizes(graph, types)["block.1.fc.weight"]
    assert sizes is not None and [size.times for size in sizes] == [0, 0]


def test_patterns_name_one_value_of_each_copy_in_order() -> None:
    graph = asm.graph(parse(MODEL, "m.yaml"))
    assert matching(graph, "block.*") == ["block.0", "block.1", "block.2"]
    assert matching(graph, "block.*.fc") == [f"block.{n}.fc" for n in range(3)]
    assert matching(graph, "blocks.*.fc.weight") == []
    said = {"a": {"op": "stack", "from": "block.*.*.bias"}, "b": {"op": "concat", "from": ["teacher.block.*", "y"]}}
    found = spread({"graph": said, "terms": []}, graph, {"teacher": graph})
    assert found["graph"]["a"]["from"] == [f"block.{n}.{i}.bias" for n in range(3) for i in ("norm", "fc")]
    assert found["graph"]["b"]["from"] == ["teacher.block.0", "teacher.block.1", "teacher.block.2", "y"]


RUN = """
kind: run
model:
  inputs: {image: [B, 1, 8, 8]}
  graph: {flat: flatten, fc: {op: linear, out: 8, repeat: 2}, head: {op: linear, out: 10}}
  outputs: {logits: head}
data: digits
train: {steps: 40, batch: 32, lr: 0.05, weight_decay: 0}
phases:
  teacher: {}
  student:
    phase: tune
    of: teacher
    set: {}
    objective:
      graph:
        away: {op: sub, from: [fc.1.weight, WEIGHT]}
        far: {op: scale, offset: -0.1}
      terms: [{loss: mse, value: far, target: away, weight: 0}, {loss: mse, value: fc.0.weight, target: fc.1.bias}]
"""
STILL = """
kind: run
model:
  inputs: {image: [B, 1, 8, 8]}
  graph: {flat: flatten, fc: {op: linear, out: 64, repeat: 2}, head: {op: linear, out: 10}}
  outputs: {logits: head}
data: digits
train: {steps: 200, batch: 32, lr: 0.01, weight_decay: 0, validate_every: 0}
phases:
  teacher: {train: {steps: 5}}
  student:
    phase: train
    objective:
      graph:
        mine: {op: stack, dim: 0, from: fc.*.weight}
        theirs: {op: stack, dim: 0, from: teacher.fc.*.weight}
      terms: [{loss: mse, value: mine, target: theirs, weight: 1000}]
claims:
  near:
    doc: Its weights are the teacher's; of its biases nothing was said.
    check: state_change
    model: student
    since: teacher
    of: [fc.0.weight, fc.1.weight]
    expect: <= 0.02
"""


def test_an_objective_of_weights_brings_them_to_those_of_the_teacher() -> None:
    (found,) = asm.verify(parse(STILL, "m.yaml"))
    assert found.holds, found.values


def test_a_weight_that_a_step_has_not_is_told_before_anything_is_trained() -> None:
    document = parse(RUN.replace("WEIGHT", "teacher.fc.0.wieght"), "m.yaml")
    with pytest.raises(RecipeError) as caught:
        check_fits(read(document))
    (problem, *_) = caught.value.problems
    assert "'fc.0' (linear) has no output and no weight 'wieght'" in problem.message
    assert problem.hint == "did you mean 'weight'?"


def test_claims_read_weights_before_and_after_rewrites() -> None:
    text = (
        MODEL
        + """
claims:
  product:
    doc: At full rank the factors make the weight.
    check: equal
    after: [{rewrite: low_rank, at: block.*.fc, energy: 1.0}]
    graph: {made: {op: matmul, from: [block.2.fc.expand.weight, block.2.fc.reduce.weight]}}
    of: made
    to: before.block.2.fc.weight
    expect: <= 1e-12
  size:
    doc: Fewer.
    check: params
    of: block.*.fc
    after: [{rewrite: low_rank, at: block.*.fc, rank: 2}]
    expect: == 3 * (2 * 16 + 8)
"""
    )
    assert [v.holds for v in asm.verify(parse(text, "m.yaml"))] == [True, True]


def test_weights_in_a_body_are_values_too() -> None:
    text = """
kind: model
inputs: {x: [B, 5, 8]}
graph:
  refine:
    {op: loop, times: 2, carry: [h], from: {h: x}, body: {cell: {body: {fc: {op: linear, out: 8}}}}, outputs: {h: cell}}
claims:
  same: {doc: One weight., check: equal, of: refine.cell.fc.weight, to: refine.cell.fc.weight, expect: == 0}
  shape: {doc: Its shape., check: shape, of: refine.cell.fc.weight, expect: "== [8, 8]"}
"""
    assert [v.holds for v in asm.verify(parse(text, "m.yaml"))] == [True, True]


def test_the_module_gives_the_parameter_itself() -> None:
    graph = with_items(asm.graph(parse(MODEL, "m.yaml")), ["block.0.fc.weight"])
    from dataclasses import replace

    module = asm.build(replace(graph, outputs=(*graph.outputs, ("w", "block.0.fc.weight"))))
    made = module(torch.randn(2, 5, 8))
    assert made["w"] is module.get_parameter("block.0.fc.weight")


def test_patterns_of_a_host_are_read_where_parts_are_trained() -> None:
    text = """
kind: run
name: parts
model:
  inputs: {image: [B, 1, 8, 8]}
  graph: {flat: flatten, fc: {op: linear, out: 8, repeat: 3}, head: {op: linear, out: 10}}
  outputs: {logits: head}
data: digits
train: {steps: 3, batch: 32}
split: [fc.1]
space: {fc.1: {$oneof: [{op: linear, out: 8}, identity]}}
phases:
  teacher: {}
  incubate:
    host: teacher
    objective:
      graph: {mine: {op: stack, from: fc.*}, theirs: {op: stack, from: host.fc.*}}
      terms: [{loss: mse, value: mine, target: theirs}]
"""
    _, found = run_recipe(parse(text, "parts.yaml"), workers=1)
    assert not found["failures"]
