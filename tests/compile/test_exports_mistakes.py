"""What `asm.export` refuses, and how it says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

import assembler as asm
from assembler.errors import InputError
from assembler.recipe.document import parse
from assembler.wiring.build import build

MODEL = "name: net\ninputs: {x: [B, 4]}\ngraph: {a: {op: linear, out: 2}}\n"


def refused(*args: object) -> str:
    with pytest.raises(InputError) as error:
        asm.export(*args)  # type: ignore[arg-type]
    return str(error.value).removeprefix("error: ")


def test_a_module_that_was_not_built_has_no_graph(tmp_path: Path) -> None:
    assert refused(nn.Linear(2, 2), tmp_path) == (
        "a Linear that was not built here has no graph to export\n"
        "    hint: asm.build makes what has one, and asm.from_module(...).build()"
    )


def test_a_format_that_there_is_not_writes_nothing(tmp_path: Path) -> None:
    said = refused(asm.build(build(parse(MODEL).model)), tmp_path / "out", ("safetensors", "pt3"))
    assert said == "there is no format 'pt3'\n    hint: did you mean 'pt2'?"
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(MODEL)
    said = refused(asm.build(build(parse(MODEL).model)), tmp_path / "net.yaml")
    assert said == f"cannot make the folder {tmp_path / 'net.yaml'}: File exists"
