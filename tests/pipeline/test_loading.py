"""A model built with somebody's weights: from Python, from the recipe itself, and from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import assembler as asm
from assembler.cli.app import app
from assembler.compile.weights import save_weights
from assembler.errors import InputError, RecipeError

RECIPE = """\
inputs: {x: [B, 4]}
graph:
  fc: {op: linear, out: 3}
  head: {op: linear, out: 2, bias: false}
"""
MAP = """\
weights:
  map:
    fc.*: lin.*
    head.weight: {from: out, transpose: true}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two recipes and the weights of another implementation."""
    (tmp_path / "mapped.yaml").write_text(RECIPE + MAP)
    (tmp_path / "filed.yaml").write_text(RECIPE + MAP + "  file: theirs/model.safetensors\n")
    (tmp_path / "theirs").mkdir()
    torch.manual_seed(0)
    theirs = {
        "lin.weight": torch.randn(3, 4),
        "lin.bias": torch.randn(3),
        "out": torch.randn(3, 2),
        "old": torch.ones(1),
    }
    save_file(theirs, tmp_path / "theirs" / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


def is_theirs(module: torch.nn.Module) -> bool:
    state = module.state_dict()
    torch.manual_seed(0)
    return torch.equal(state["fc.weight"], torch.randn(3, 4)) and state["head.weight"].shape == (2, 3)


def test_a_map_a_file_and_a_folder(place: Path) -> None:
    for weights in ("theirs/model.safetensors", Path("theirs"), place / "theirs"):
        module = asm.build("mapped.yaml", weights=weights)
        assert is_theirs(module)
        assert module.meta["unread"] == ("old",)
    assert not is_theirs(asm.build("mapped.yaml"))
    assert is_theirs(asm.build(asm.load("mapped.yaml"), weights="theirs"))


def test_the_file_that_a_recipe_names_lies_beside_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.parent)
    assert is_theirs(asm.build(place / "filed.yaml"))
    (place / "theirs" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no weights file .*theirs/model.safetensors"):
        asm.build(place / "filed.yaml")


@pytest.mark.parametrize("file", ["../model.safetensors", "/etc/passwd", "theirs/../../x"])
def test_a_recipe_cannot_reach_outside_of_its_folder(file: str, place: Path) -> None:
    (place / "bad.yaml").write_text(RECIPE + f"weights: {{file: {file}}}\n")
    with pytest.raises(RecipeError, match=rf"bad.yaml:5:17: error: a recipe may not reach '{file}'"):
        asm.build("bad.yaml")


def test_weights_under_the_models_own_names_need_no_map(place: Path) -> None:
    save_weights(asm.build("mapped.yaml", weights="theirs"), "ours/model.safetensors")
    module = asm.build("mapped.yaml", weights="ours")
    assert is_theirs(module) and "unread" not in module.meta


def test_what_is_wrong_with_weights_is_told_by_place(place: Path) -> None:
    save_file({"lin.weight": torch.ones(3, 5), "lin.bais": torch.ones(3), "out": torch.ones(3, 2)}, "wrong.safetensors")
    code, output = call("build", "mapped.yaml", "--weights", "wrong.safetensors")
    assert code == 2
    assert output == (
        "mapped.yaml:7:11: error: the weights have no 'lin.bias', which 'fc.bias' is made of\n"
        "        fc.*: lin.*\n"
        "              ^^^^^\n"
        "    hint: did you mean 'lin.bais'?\n"
        "fc.weight: error: 'fc.weight' is [3, 5] in the weights, the model needs [3, 4]\n"
    )


def test_the_command_line_says_what_was_not_read(place: Path) -> None:
    code, output = call("build", "filed.yaml")
    assert code == 0
    assert "unread       1 tensor of the weights: old\n" in output


def test_export_writes_nothing_beside_somebody_elses_weights(place: Path) -> None:
    before = (place / "theirs" / "model.safetensors").read_bytes()
    code, output = call("export", "mapped.yaml", "-w", "theirs/model.safetensors", "--format", "safetensors")
    assert (code, output) == (
        2,
        "error: these weights are another model's files, nothing is written beside them\n    hint: give --out DIR\n",
    )
    assert call("export", "filed.yaml", "--out", "there", "--format", "safetensors")[0] == 0
    assert is_theirs(asm.build("mapped.yaml", weights="there/model.safetensors"))
    assert (place / "theirs" / "model.safetensors").read_bytes() == before


def test_a_file_that_is_not_there_gets_no_hint_about_what_fits(place: Path) -> None:
    with pytest.raises(InputError) as error:
        asm.build(place / "mapped.yaml", weights=place / "nothere.safetensors")
    assert str(error.value) == f"error: no weights file {place / 'nothere.safetensors'}"
