"""Sizes in terms of the batch, against the shapes that graphs have at three batches."""

from __future__ import annotations

from dataclasses import replace

import pytest

import assembler as asm
from assembler.graph.core import Graph, TensorType
from assembler.infer.batch import batch_sizes
from assembler.infer.shape import shapes
from assembler.recipe.document import load, parse
from assembler.resources import root
from assembler.wiring.build import build

RECIPES = sorted([*(file.stem for file in (root("recipes") / "reference").glob("*.yaml")), "poolformer"])
FEW = {"depth": 2, "depths": [2, 2], "tokens": 8, "length": 4, "count": 2}
OWN = {"convnext_t": {"widths": [8, 16]}, "poolformer": {"widths": [8, 16]}, "resnet18": {"widths": [8, 16]}}
OWN |= {"swin_t": {"heads": [3, 6]}, "mlp_mixer": {"tokens": 8}, "ddpm_sampler": {"count": 2}}
MIXED = """\
kind: model
inputs: {image: [B, 3, 8, 8], mask: {shape: [B, 6], dtype: bool}}
graph:
  windows: {op: rearrange, pattern: b c (h p) (w q) -> (b h w) c p q, sizes: {p: 2, q: 2}, from: image}
  conv: {op: conv2d, out: 2, kernel_size: 1}
  flat: flatten
  place: {op: positions, dim: 1, from: mask}
  two: {op: parameter, shape: [2, 4], batched: false, from: flat}
  rows: {op: slice, dim: 0, start: 1, from: flat}
  gram: {op: einsum, equation: "bd,cd->bc", from: [rows, rows]}
  whole: {op: mean, dim: null, from: flat}
  turned: {op: permute, dims: [1, 0], from: flat}
  last: {op: linear, out: 5, from: flat}
  both: {op: topk, k: 2, from: last}
outputs: {gram: gram, place: place, two: two, whole: whole, turned: turned, best: both, where: both.indices}
"""


def at(graph: Graph, batch: int) -> Graph:
    inputs = ((n, TensorType((batch, *k.shape[1:]), k.dtype) if k.shape else k) for n, k in graph.inputs)
    return replace(graph, inputs=tuple(inputs))


def agree(graph: Graph) -> dict[str, str]:
    found = batch_sizes(graph, shapes(graph))
    for batch in (3, 7):
        for i, kind in shapes(at(graph, batch)).items():
            sizes = found[i]
            assert sizes is None or tuple(size.at(batch) for size in sizes) == kind.shape, i
    return {i: "?" if sizes is None else f"[{', '.join(map(str, sizes))}]" for i, sizes in found.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_sizes_are_those_of_every_batch(name: str) -> None:
    known = load(name).model.get("vars") or {}
    sizes = {k: v for k, v in {**FEW, **OWN.get(name, {})}.items() if k in known}
    assert "?" not in agree(asm.graph(name, *(f"vars.{k}={v}" for k, v in sizes.items()))).values()


def test_every_way_to_depend_on_the_batch() -> None:
    found = agree(build(parse(MIXED, "mixed.yaml").model))
    wanted = {
        "windows": "[16*B, 3, 2, 2]",
        "conv": "[16*B, 2, 2, 2]",
        "flat": "[16*B, 8]",
        "place": "[1, 6]",
        "two": "[2, 4]",
        "rows": "[16*B-1, 8]",
        "gram": "[16*B-1, 16*B-1]",
        "whole": "[]",
        "turned": "[8, 16*B]",
        "last": "[16*B, 5]",
        "both": "[16*B, 2]",
        "both.indices": "[16*B, 2]",
    }
    assert {i: found[i] for i in wanted} == wanted


def test_what_is_no_line_is_left_open() -> None:
    text = """\
kind: model
inputs: {x: [B, 4]}
graph:
  pairs: {op: einsum, equation: "bd,cd->bc", from: [x, x]}
  all: {op: aten.flatten.using_ints, from: pairs}
"""
    found = agree(build(parse(text, "pairs.yaml").model))
    assert found["pairs"] == "[B, B]" and found["all"] == "?"
