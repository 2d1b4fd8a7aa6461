"""Blocks of another imported model as variants of a slot, with their weights, between linear steps (DeRy)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import assembler as asm
from assembler.importing.folder import save
from assembler.importing.imported import from_module
from assembler.pipeline.checking.check import check
from assembler.recipe.document import load

tf = pytest.importorskip("transformers")
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]

RUN = """
kind: run
model:
  extends: vit
  blocks: {theirs: {extends: wide_block}}
set: {inputs.pixel_values: image}
data: digits
split: [vit.layers.1]
train: {steps: 2, batch: 32, lr: 0.0, weight_decay: 0.0}
space:
  vit.layers.1: {$oneof: [keep, {body: {enter: {op: linear, out: 24}, block: theirs, leave: {op: linear, out: 16}}}]}
phases:
  teacher: {train: {epochs: 0}}
  incubate:
    host: teacher
    objective: [{loss: normalized_mse, value: slot, target: host.slot}]
  search: {}
"""


def vit(width: int, seed: int) -> Any:
    torch.manual_seed(seed)
    sizes = {"hidden_size": width, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return tf.ViTForImageClassification(
        tf.ViTConfig(**sizes, image_size=8, patch_size=4, num_channels=1, num_labels=10)
    ).eval()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an imported model, and a block of another one of another width."""
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    save(from_module(vit(16, 0), {"pixel_values": torch.randn(2, 1, 8, 8)}), tmp_path / "vit")
    save(from_module(vit(24, 1).vit.layers[1], torch.randn(2, 5, 24)), tmp_path / "wide_block")
    return tmp_path


def test_a_block_of_another_model_and_width_is_a_variant_with_its_weights(folder: Path) -> None:
    (folder / "run.yaml").write_text(RUN)
    assert check(load(folder / "run.yaml")) == []
    made, summary = asm.run(folder / "run.yaml", workers=1, device="cpu")
    assert not summary["failures"]
    parts = [json.loads(line) for line in (made / "parts.jsonl").read_text().splitlines()]
    assert len(parts) == 2
    block = vit(24, 1).vit.layers[1].state_dict()
    found = [load_file(file) for file in (folder / "home").rglob("*.safetensors")]
    parts = [one for one in found if any(k.startswith("enter.") for k in one)]
    assert parts and all(torch.equal(one[f"block.{k}"], t) for one in parts for k, t in block.items())


def test_a_model_with_a_block_of_another_begins_with_the_weights_of_both(folder: Path) -> None:
    body = "{body: {enter: {op: linear, out: 24}, block: theirs, leave: {op: linear, out: 16}}}"
    text = f"kind: model\nextends: vit\nblocks: {{theirs: {{extends: wide_block}}}}\nset: {{vit.layers.1: {body}}}\n"
    (folder / "model.yaml").write_text(text)
    made, ours, block = asm.build("model.yaml"), vit(16, 0).state_dict(), vit(24, 1).vit.layers[1].state_dict()
    layer = "vit.layers.1."
    for key, value in made.state_dict().items():
        theirs = block.get(key.removeprefix(f"{layer}block.")) if key.startswith(layer) else ours[key]
        assert theirs is None or torch.equal(value, theirs), key
    assert made.meta["initialised"] == tuple(f"{layer}{name}" for name in (
        "enter.weight", "enter.bias", "leave.weight", "leave.bias"))  # fmt: skip


def test_which_blocks_of_two_imported_models_do_the_same(folder: Path) -> None:
    (folder / "model.yaml").write_text("kind: model\nextends: vit\nset: {inputs.pixel_values: image}\n")
    blobs = {"name": "blobs", "size": 8, "train": 64, "validation": 8, "test": 8}
    found = asm.similarity("model.yaml", asm.load("model.yaml"), blobs)
    assert len(found.nearest) > 4 and all(one.slot == one.path for one in found.nearest)
    with pytest.raises(asm.AssemblerError, match="the model reads 'pixel_values', the data has image"):
        asm.similarity("model.yaml", "vit", blobs)
