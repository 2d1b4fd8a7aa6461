"""Weights from a file, from the folder of a checkpoint, in one piece or in shards, and from a hub's cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from assembler.compile.checkpoints import read_checkpoint
from assembler.errors import InputError

A, B = {"a": torch.ones(2)}, {"b": torch.zeros(3)}


def message(place: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_checkpoint(place)
    return str(caught.value).replace(str(place), "PLACE")


def index(folder: Path, places: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_a_file_and_each_kind_of_folder(tmp_path: Path) -> None:
    save_file(A, tmp_path / "any.safetensors")
    assert read_checkpoint(tmp_path / "any.safetensors").keys() == {"a"}
    torch.save(B, tmp_path / "pytorch_model.bin")
    assert read_checkpoint(tmp_path).keys() == {"b"}
    save_file(A, tmp_path / "model.safetensors")  # the better kind wins
    assert read_checkpoint(str(tmp_path)).keys() == {"a"}


def test_shards_are_put_together(tmp_path: Path) -> None:
    save_file(A | {"extra": torch.ones(1)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file(B, tmp_path / "model-00002-of-00002.safetensors")
    index(tmp_path, {"b": "model-00002-of-00002.safetensors", "a": "model-00001-of-00002.safetensors"})
    found = read_checkpoint(tmp_path)
    assert list(found) == ["b", "a"] and torch.equal(found["a"], A["a"])


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    assert message(tmp_path).startswith(
        "error: the folder PLACE holds no weights\n    hint: looked for model.safetensors"
    )
    index(tmp_path, {"a": "one.safetensors"})
    assert "no weights file PLACE/one.safetensors" in message(tmp_path)
    save_file(B, tmp_path / "one.safetensors")
    assert "model.safetensors.index.json names 'a', which its shard does not hold" in message(tmp_path)


@pytest.mark.parametrize("places", ["x", {"a": "../secret.safetensors"}, {"a": "/etc/passwd"}, ["a"], None])
def test_an_index_that_is_none_or_reaches_elsewhere_is_refused(places: object, tmp_path: Path) -> None:
    index(tmp_path, places)
    assert ("is no index of shards" in message(tmp_path)) != ("a shard lies beside its index" in message(tmp_path))


def test_a_name_of_the_hub_is_read_from_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    model = tmp_path / "models--org--name"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("0" * 40)
    (model / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(A, model / "snapshots" / ("0" * 40) / "model.safetensors")
    assert read_checkpoint("hf:org/name").keys() == {"a"}
    for name in ("hf:org/other", "hf:no such name", "hf:org/name@other"):
        with pytest.raises(InputError) as caught:
            read_checkpoint(name)
        assert str(caught.value).startswith(f"error: cannot fetch '{name}': ")
        assert str(caught.value).endswith("hint: a model of the hub is hf:org/name")
