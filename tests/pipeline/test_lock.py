"""A lock file holds a run to the weights that it began with, and what a run exports has its recipe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import assembler as asm
from assembler.compile.weights import save_weights
from assembler.errors import InputError
from assembler.recipe.document import parse

RUN = """\
kind: run
model:
  inputs: {image: [B, 1, 6, 6]}
  graph:
    trunk:
      weights: {file: given/trunk.safetensors}
      body: {conv: {op: conv2d, out: 2, kernel_size: 3}}
    pool: global_avg_pool
    head: {op: linear, out: 3}
  outputs: {logits: head}
data: {name: blobs, train: 32, validation: 16, test: 16, size: 6}
train: {steps: 1, batch: 16}
phases:
  train: {}
  export: {formats: [safetensors]}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        made = tmp_path_factory.mktemp("home")
        patch.setenv("ASSEMBLER_HOME", str(made))
        patch.setenv("ASSEMBLER_RUNS", str(made / "runs"))
        yield made


@pytest.fixture(scope="module")
def ran(home: Path) -> tuple[Path, Path]:
    """The folder of a run whose trunk begins with a file, and that of its recipe."""
    place = home / "here"
    (place / "given").mkdir(parents=True)
    (place / "run.yaml").write_text(RUN)
    torch.manual_seed(3)
    save_weights(
        {"conv.weight": torch.randn(2, 1, 3, 3), "conv.bias": torch.randn(2)}, place / "given/trunk.safetensors"
    )
    return asm.run(place / "run.yaml", workers=1, device="cpu")[0], place


def test_a_lock_goes_elsewhere_with_its_weights_and_is_held_to_them(ran: tuple[Path, Path], tmp_path: Path) -> None:
    folder, place = ran
    away = tmp_path / "away"
    away.mkdir()
    lock = shutil.copy(folder / "recipe.lock.yaml", away)
    with pytest.raises(InputError) as error:
        asm.run(lock, workers=1, device="cpu")
    said = str(error.value)
    assert "this run was made with the weights 'given/trunk.safetensors' of sha256 " in said
    assert "..., which are not there" in said and f"hint: put that file there, it is to be {away / 'given'}" in said

    shutil.copytree(place / "given", away / "given")
    again, summary = asm.run(lock, workers=1, device="cpu")
    assert summary["failures"] == []
    mine, theirs = (load_file(f / "model.safetensors") for f in (again, folder))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0)

    tensors = load_file(away / "given/trunk.safetensors")
    save_file({**tensors, "conv.bias": tensors["conv.bias"] + 1}, away / "given/trunk.safetensors")
    with pytest.raises(InputError) as error:
        asm.run(lock, workers=1, device="cpu")
    said = str(error.value)
    assert "this run was made with the weights 'given/trunk.safetensors' of sha256 " in said
    assert f"{away / 'given/trunk.safetensors'} has " in said
    assert "take `lock:` out to run it with this one" in said and "recipe.lock.yaml:" in said


@pytest.mark.slow
def test_other_weights_are_another_key(ran: tuple[Path, Path], home: Path, tmp_path: Path) -> None:
    before = {p.name for p in (home / "parts").glob("*/*")}
    shutil.copytree(ran[1], tmp_path / "changed")
    file = tmp_path / "changed/given/trunk.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(file).items()}, file)
    asm.run(tmp_path / "changed/run.yaml", workers=1, device="cpu")  # in a store of its own
    after = {p.name for p in (tmp_path / "home/parts").glob("*/*")}
    assert len(after) == len(before) and len(after - before) >= 2


def test_the_export_of_a_run_has_its_recipe(ran: tuple[Path, Path]) -> None:
    folder, _ = ran
    said = json.loads((folder / "config.json").read_text())
    assert "recipe" in said
    assert asm.graph(parse(said["recipe"])).fingerprint == said["fingerprint"]
