"""Every recipe and every snippet of docs/search.md runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from inside import search_inside

import assembler as asm
from assembler.pipeline.checking.check import check
from assembler.pipeline.search.run import search_recipe
from assembler.pipeline.search.settings import settings
from assembler.recipe.document import parse
from assembler.registry import names
from assembler.registry.live import LIVE

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
RECIPES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def name(text: str) -> str:
    return text.split("name: ", 1)[1].split("\n", 1)[0] if "name: " in text else "snippet"


@pytest.mark.parametrize("text", RECIPES, ids=map(name, RECIPES))
def test_the_recipe_searches(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    search_inside(monkeypatch)
    document = parse(text, "page.yaml")
    assert check(document) == []
    if document.kind == "run":
        _, found = asm.run(document, workers=1, device="cpu")
        assert found["search"]["mode"] == "parts" and found["search"]["evaluated"] == 4
        return
    study = search_recipe(document, settings(document, {}))
    assert study.best is not None and study.evaluated == document.tree.get("search").get("trials").value  # type: ignore[union-attr]


@pytest.mark.parametrize("text", SNIPPETS, ids=["proxy", "pruner", "inherited", "python"])
def test_the_snippet_runs(text: str, tmp_path: Path) -> None:
    file = tmp_path / "snippet.py"
    file.write_text(text)
    found: dict[str, Any] = {"__name__": "snippet"}
    before = set(LIVE)
    try:
        exec(compile(text, str(file), "exec"), found)
    finally:
        for key in set(LIVE) - before:
            del LIVE[key]


def test_the_page_names_what_there_is() -> None:
    assert [one for kind in ("proxy", "pruner") for one in names(kind) if f"`{one}`" not in PAGE] == []
