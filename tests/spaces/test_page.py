"""Every recipe of docs/spaces.md is sound, is counted, and its candidates build; its Python runs."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

import assembler as asm
from assembler.pipeline.checking.check import check
from assembler.pipeline.plan import plan_model
from assembler.pipeline.search.candidates import Candidates
from assembler.recipe.document import parse

PAGE = (Path(__file__).parents[2] / "docs" / "spaces.md").read_text()
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
RECIPES = {s.splitlines()[0]: r for s in SECTIONS for r in re.findall(r"```yaml\n(.*?)```", s, re.DOTALL)}
PYTHON = {s.splitlines()[0]: r for s in SECTIONS for r in re.findall(r"```python\n(.*?)```", s, re.DOTALL)}


@pytest.mark.parametrize("section", RECIPES)
def test_the_recipe_is_sound_and_its_candidates_build(section: str) -> None:
    document = parse(RECIPES[section], "page.yaml")
    assert check(document) == []
    candidates, rng = Candidates(document.model, section), random.Random(0)
    built = 0
    for _ in range(6):
        choice = candidates.space.uniform(rng)
        assert candidates.space.refusal(choice) == ""
        built += len(candidates.graph(choice)) > 0
        candidates.space.refusal(choice, candidates.cost(choice))
    assert built == 6
    assert plan_model(document).data()["space_size"] == candidates.space.unmoved.size


def test_what_the_page_says_of_its_recipes() -> None:
    grammar = parse(RECIPES["Grammars"]).space
    calls = 0
    for _ in range(3):
        calls = (2 + calls) * (1 + calls)
    assert grammar.size == calls
    names = {d.name for d in grammar.decisions}
    assert {"net.both.left.op", "net.both.left.op[sum].both.right.op"} <= names
    where = parse(RECIPES["Constraints"]).space
    assert (where.size, where.count()) == (36, (2 + 3 + 1) * 3)
    study = asm.search(parse(RECIPES["Moves"]), lambda m: len(list(m.modules())), sampler="evolution", trials=6)
    assert study.evaluated == 6


@pytest.mark.parametrize("section", PYTHON)
def test_the_python_runs(section: str) -> None:
    found: dict[str, Any] = {}
    exec(PYTHON[section], found)
    assert found["choice"]


def test_the_table_has_every_shipped_space() -> None:
    from test_shipped_spaces import SIZES as KNOWN

    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(KNOWN)
