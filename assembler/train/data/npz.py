"""Arrays in one npz file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data.source import Arrays, Source, images, labels, locate, missing
from assembler.train.data.split import carve, limit


@dataset
def npz(
    path: str,
    input: str = "image",
    target: str = "label",
    train: int | None = None,
    validation: float = 0.1,
    split_seed: int = 0,
) -> Source:
    """Samples from an npz file with x_train, y_train, x_test, y_test and, if it has them, x_val, y_val.

    x is [N, H, W], [N, C, H, W] or [N, anything], y is [N] integers (classes) or floats (regression); they become the
    fields `input` and `target`. Without x_val, `validation` (a share or a count) is taken from the training samples.
    """
    file = locate(path, ".")
    if not file.is_file():
        arrays = "an npz file of the arrays x_train, y_train, x_test, y_test"
        raise missing("npz", f"the file {file.name}", file.parent, f"put {arrays} there")

    def development() -> tuple[Arrays, Arrays]:
        fields = _read(file, "train", input, target)
        if "x_val" not in _names(file):
            return carve(fields, target, validation, train, split_seed)
        return limit(fields, target, train, split_seed), _read(file, "val", input, target)

    return Source(development, lambda: _read(file, "test", input, target), files=(file,), targets=(target,))


def _read(file: Path, part: str, name: str, target: str) -> Arrays:
    arrays = []
    for key in (f"x_{part}", f"y_{part}"):
        known = _names(file)
        if key not in known:
            hint = "it has " + (", ".join(known) or "no arrays")
            raise InputError(f"{file} has no array '{key}'", hint=hint)
        try:
            with np.load(file, allow_pickle=False) as opened:
                arrays.append(opened[key])
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"cannot read '{key}' of {file}: {error}", hint="pickled objects are refused") from error
    x, y = images(arrays[0]), labels(arrays[1], f"y_{part} of {file}")
    if len(x) != len(y):
        raise InputError(f"{file}: x_{part} has {len(x)} samples and y_{part} has {len(y)}")
    return {name: x, target: y}


def _names(file: Path) -> list[str]:
    try:
        with zipfile.ZipFile(file) as opened:
            return [name.removesuffix(".npy") for name in opened.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} is not an npz file: {error}", hint="numpy.savez writes one") from error
