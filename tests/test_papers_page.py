"""The recipe of docs/papers.md is sound and its exact claims hold; its arms train; what the page names is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import assembler as asm
from assembler import registry, resources
from assembler.pipeline.checking.check import check
from assembler.pipeline.claims import spec
from assembler.recipe.document import parse, varied
from assembler.recipe.overrides import override

PAGE = (Path(__file__).parents[1] / "docs" / "papers.md").read_text(encoding="utf-8")
(RECIPE,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
(PYTHON,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(COMMAND,) = re.findall(r"```bash\nassembler verify eca.yaml --claim bands (.*?)\n```", PAGE)
EXACT = [claim.name for claim in spec.claims_of(parse(RECIPE, "eca.yaml")) if not len(claim.training)]
TABLE = PAGE.partition("## How to say it")[2].partition("##")[0]


def test_the_recipe_is_sound_and_what_trains_nothing_holds() -> None:
    assert check(parse(RECIPE, "eca.yaml")) == []
    found = asm.verify(parse(RECIPE, "eca.yaml"), claims=EXACT)
    assert len(found) == 5 and all(verdict.holds for verdict in found), found


def test_its_arms_are_tuned_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path))
    said = [override(word.strip("'")) for word in COMMAND.removeprefix("-o ").split(" -o ")]
    small = override("claims.bands.train.steps=1"), override("claims.bands.data.train=64")
    (found,) = asm.verify(varied(parse(RECIPE, "eca.yaml"), [*said, *small]), claims=["bands"])
    assert found.measures == "validation.accuracy" and found.seeds == (10, 11, 12)
    assert [arm.name for arm in found.arms] == ["none", "se", "eca"]


def test_an_op_of_the_page_is_one() -> None:
    found: dict[str, Any] = {"__name__": "plugin_page"}
    exec(PYTHON, found)
    assert found["soft_sign"](torch.tensor([-1.0, 3.0])).tolist() == [-0.5, 0.75]


def test_what_the_table_names_is_there() -> None:
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in TABLE.splitlines() if row.startswith("| ")][2:]
    assert len(rows) > 15
    shipped = resources.shipped()
    named = {name.strip("` ") for _, _, where in rows for name in where.split(",")}
    assert named <= shipped.keys(), named - shipped.keys()
    ops = {word for _, said, _ in rows for word in re.findall(r"`(\w+)`", said)}
    known = {
        *registry.names("op", torch=True),
        *(n for k in ("rewrite", "phase", "dataset") for n in registry.names(k)),
    }
    assert ops - known == set()
