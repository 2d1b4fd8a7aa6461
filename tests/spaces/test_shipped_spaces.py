"""Every shipped space has the size that its paper gives or that its choices come to, and its candidates train."""

from __future__ import annotations

import random

import pytest
import torch

import assembler as asm
from assembler.pipeline.checking.check import check
from assembler.pipeline.search.candidates import Candidates
from assembler.recipe.choices import decide
from assembler.recipe.document import load, parse
from assembler.recipe.write import to_yaml
from assembler.resources import root

PER_STAGE = 9**2 + 9**3 + 9**4
PER_LAYERS = 12**2 + 12**4 + 12**6
SIZES = {
    "stage_mixers": 4**3 * 3 * 3,
    "nas_bench_101": 2**21 * 3**5,
    "nas_bench_201": 15_625,
    "darts": (1 * 3 * 6 * 10 * 7**8) ** 2,
    "mobilenet_v3": PER_STAGE**5,
    "metaformer_mixers": 5**4 * 3,
    "deep_architect_cnn": (3 * 2 * 2 * 2 * 3) ** 3,
    "language_model": 3 * 2 * 2 * PER_LAYERS,
    "elastic_vit": 3 * (4**12 + 4**13 + 4**14),
}
SMALL = {
    "nas_bench_101": ("vars.channels=8", "vars.cells=1", "inputs.image=[B, 3, 8, 8]"),
    "nas_bench_201": ("vars.channels=4", "vars.cells=1", "inputs.image=[B, 3, 8, 8]"),
    "darts": ("vars.channels=4", "inputs.image=[B, 3, 8, 8]"),
    "mobilenet_v3": ("vars.size=32", "vars.width=0.5", "vars.classes=4"),
    "metaformer_mixers": ("vars.size=64", "vars.widths=[8, 8, 16, 16]", "vars.depths=[1, 1, 1, 1]", "vars.classes=4"),
    "deep_architect_cnn": ("inputs.image=[B, 3, 8, 8]",),
    "language_model": ("vars.tokens=6",),
    "elastic_vit": ("vars.size=32", "vars.classes=4"),
}


def test_every_shipped_space_is_here() -> None:
    assert {file.stem for file in root("spaces").glob("*.yaml")} == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_the_size_is_the_known_one(name: str) -> None:
    assert load(name).space.size == SIZES[name]


@pytest.mark.parametrize("name", SIZES)
def test_there_is_nothing_wrong_with_it(name: str) -> None:
    assert check(load(name, strict=False)) == []


@pytest.mark.parametrize("name", SIZES)
def test_a_candidate_trains_and_its_recipe_is_the_same_model(name: str) -> None:
    document = load(name, SMALL.get(name, ()))
    candidates = Candidates(document.model, name)
    choice = candidates.space.uniform(random.Random(7))
    candidates.space.check(choice)
    recipe = to_yaml(decide(document.model, choice).drop("where", "set"))
    again = parse(recipe)
    assert asm.graph(again).fingerprint == candidates.fingerprint(choice)
    module = asm.build(again)
    size = asm.graph(again).inputs[0][1].shape[1:]
    integers = asm.graph(again).inputs[0][1].dtype == "int64"
    out = module(torch.randint(0, 99, (2, *size)) if integers else torch.randn(2, *size))
    out = out["logits"] if isinstance(out, dict) else out
    out.logsumexp(-1).sum().backward()
    found = [p.grad for p in module.parameters() if p.grad is not None]
    assert next(module.parameters()).grad is not None
    assert len(found) > len(list(module.parameters())) / 2  # nothing trains the norm before a mixer that gives zeros
    assert all(grad.isfinite().all() for grad in found)
