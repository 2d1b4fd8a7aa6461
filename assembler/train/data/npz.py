"""Arrays in one npz file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data.source import Array, Arrays, Source, images, labels, locate, missing
from assembler.train.data.split import carve, limit


@dataset
def npz(
    path: str,
    input: str = "image",
    target: str = "label",
    train: int | None = None,
    validation: float = 0.1,
    split_seed: int = 0,
    inputs: list[str] | None = None,
    targets: list[str] | None = None,
    channel: bool | None = None,
) -> Source:
    """Samples from an npz file with x_train, y_train, x_test, y_test and, if it has them, x_val, y_val.

    x is [N, anything] and becomes the field `input`; y is integers [N] (classes), integers [N, ...] (a class for every
    place of a map, -100 where there is none) or floats, and becomes `target`. Several arrays are named: `inputs: [past,
    mask], targets: [future]` reads past_train, mask_train, future_train, past_test, ... as fields of those names. With
    `channel` a 3-axis input [N, H, W] becomes [N, 1, H, W]; by default that is so for a field called `image`. Without
    x_val, `validation` (a share or a count) is taken from the training samples.
    """
    file = locate(path, ".")
    if not file.is_file():
        arrays = "an npz file of the arrays x_train, y_train, x_test, y_test"
        raise missing("npz", f"the file {file.name}", file.parent, f"put {arrays} there")
    fed, compared = _keys(inputs, "x", input), _keys(targets, "y", target)
    if both := [name for name in fed.values() if name in compared.values()]:
        raise InputError(f"'{both[0]}' is an input and a target", path="data", hint="name each array once")
    first = next(iter(compared.values()))

    def read(part: str) -> Arrays:
        found = {name: _read(file, f"{key}_{part}") for key, name in fed.items()}
        pictures = {name for name in found if (name == "image" if channel is None else channel)}
        found = {name: images(array) if name in pictures else array for name, array in found.items()}
        found |= {name: labels(_read(file, f"{k}_{part}"), f"{k}_{part} of {file}") for k, name in compared.items()}
        return _matched(found, {name: f"{key}_{part}" for key, name in (fed | compared).items()}, file)

    def development() -> tuple[Arrays, Arrays]:
        fields = read("train")
        if f"{next(iter(fed))}_val" not in _names(file):
            return carve(fields, first, validation, train, split_seed)
        return limit(fields, first, train, split_seed), read("val")

    return Source(development, lambda: read("test"), files=(file,), targets=tuple(compared.values()))


def _keys(names: list[str] | None, key: str, name: str) -> dict[str, str]:
    """How arrays begin -> the field that each becomes."""
    return {one: one for one in names} if names else {key: name}


def _read(file: Path, key: str) -> Array:
    known = _names(file)
    if key not in known:
        raise InputError(f"{file} has no array '{key}'", hint="it has " + (", ".join(known) or "no arrays"))
    try:
        with np.load(file, allow_pickle=False) as opened:
            found: Array = opened[key]
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"cannot read '{key}' of {file}: {error}", hint="pickled objects are refused") from error
    return found


def _matched(fields: Arrays, keys: Mapping[str, str], file: Path) -> Arrays:
    """The fields, each of as many samples as the first has."""
    (first, array), *others = fields.items()
    for name, other in others:
        if len(other) != len(array):
            counts = f"{keys[first]} has {len(array)} samples and {keys[name]} has {len(other)}"
            raise InputError(f"{file}: {counts}")
    return fields


def _names(file: Path) -> list[str]:
    try:
        with zipfile.ZipFile(file) as opened:
            return [name.removesuffix(".npy") for name in opened.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} is not an npz file: {error}", hint="numpy.savez writes one") from error
