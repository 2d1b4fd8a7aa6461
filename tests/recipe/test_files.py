"""How long a file may be: a recipe is written by people, the text of a graph by a tracer."""

from __future__ import annotations

from pathlib import Path

import pytest

from assembler.errors import RecipeError
from assembler.recipe.files import MAX_BYTES, MAX_GRAPH_BYTES, load_text


def test_a_graph_may_be_longer_than_a_recipe(tmp_path: Path) -> None:
    for name in ("recipe.yaml", "graph.txt", "config.json"):
        (tmp_path / name).write_bytes(b" " * (MAX_BYTES + 1))
    assert len(load_text(tmp_path / "graph.txt")) == len(load_text(tmp_path / "config.json")) == MAX_BYTES + 1
    with pytest.raises(RecipeError, match=r"recipe\.yaml holds more than 4,000,000 bytes"):
        load_text(tmp_path / "recipe.yaml")


def test_a_graph_is_bounded_too(tmp_path: Path) -> None:
    with (tmp_path / "graph.txt").open("wb") as file:
        file.truncate(MAX_GRAPH_BYTES + 1)
    with pytest.raises(RecipeError, match=r"graph\.txt holds more than 64,000,000 bytes"):
        load_text(tmp_path / "graph.txt")
