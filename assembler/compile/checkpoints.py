"""Where weights lie: in one file, in the folder of a Hugging Face checkpoint with its shards, or on their hub."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from assembler.compile.weights import read_weights
from assembler.errors import InputError, near

HUB = "hf:"
KINDS = (("model.safetensors", "model-*.safetensors"), ("pytorch_model.bin", "pytorch_model-*.bin"))
"""File names of a whole checkpoint and of its shards, the better kind first; `.index.json` is the index of shards."""


PART = "weights.safetensors"
"""The weights of a product of the parts store, in its folder."""


def read_checkpoint(source: str | Path) -> dict[str, Tensor]:
    """The tensors of a weights file, of a folder that holds a checkpoint or is a part, or of `hf:org/name`, on the CPU.

    `hf:org/name@revision` names a branch, tag or commit of the hub. Raises InputError where there is nothing, or not
    all of it; no code of a checkpoint is run.
    """
    if str(source).startswith(HUB):
        return _read_folder(_fetched(str(source).removeprefix(HUB)))
    path = Path(source)
    return _read_folder(path) if path.is_dir() else read_weights(path)


def _read_folder(folder: Path) -> dict[str, Tensor]:
    for whole, _ in (*KINDS, (PART, "")):
        if (folder / whole).is_file():
            return read_weights(folder / whole)
        if (folder / f"{whole}.index.json").is_file():
            return _read_shards(folder / f"{whole}.index.json")
    looked = ", ".join(f"{whole}, {whole}.index.json" for whole, _ in KINDS)
    raise InputError(f"the folder {folder} holds no weights", hint=f"looked for {looked}")


def _read_shards(index: Path) -> dict[str, Tensor]:
    try:
        names = json.loads(index.read_bytes())["weight_map"]
        places = {str(name): str(file) for name, file in names.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index} is no index of shards", hint="it maps names to files under 'weight_map'") from error
    found: dict[str, Tensor] = {}
    for file in dict.fromkeys(places.values()):
        if Path(file).name != file:
            raise InputError(f"{index} names the shard '{file}'", hint="a shard lies beside its index")
        found |= read_weights(index.parent / file)
    missing = [name for name in places if name not in found]
    if missing:
        said = f"{index} names '{missing[0]}', which its shard does not hold"
        raise InputError(said, hint=near(missing[0], found) or f"{len(missing)} are missing, fetch the shards again")
    return {name: found[name] for name in places}


def _fetched(name: str) -> Path:
    """The folder of the local cache that holds the weights of a model of the hub, fetched if need be."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError(f"'{HUB}{name}' is on the hub of Hugging Face", hint="pip install 'assembler[hf]'") from None
    repo, _, revision = name.partition("@")
    folder = Path()
    try:
        for whole, shards in KINDS:
            index = f"{whole}.index.json"
            found = snapshot_download(repo, revision=revision or None, allow_patterns=[whole, shards, index])
            folder = Path(found)
            if (folder / whole).is_file() or (folder / index).is_file():
                break
    except (OSError, ValueError) as error:  # no such model, no connection, a name that is none
        said = f"cannot fetch '{HUB}{name}': {str(error).strip().splitlines()[0]}"
        raise InputError(said, hint="a model of the hub is hf:org/name") from error
    return folder
