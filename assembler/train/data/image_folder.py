"""Pictures in one folder a class."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data.source import Array, Arrays, Source, locate, missing
from assembler.train.data.split import carve, limit

_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"))
_LAYOUT = "make it PATH/train/CLASS/*.png and PATH/test/CLASS/*.png (and PATH/val/CLASS/*.png if you like)"
Listing = list[tuple[Path, int]]


@dataset
def image_folder(
    path: str,
    size: int | None = None,
    mode: Literal["rgb", "grey"] = "rgb",
    train: int | None = None,
    validation: float = 0.1,
    split_seed: int = 0,
) -> Source:
    """Pictures from `path`/train/CLASS/, `path`/test/CLASS/ and, if it is there, `path`/val/CLASS/.

    Classes are the folders of train, in order of name. `size` resizes to a square; without it all must be equally
    large. Without val, `validation` (a share or a count) is taken from train. All are held in memory as bytes.
    Reading needs Pillow: the extra `images`.
    """
    root = locate(path, ".")
    for part in ("train", "test"):
        if not (root / part).is_dir():
            raise missing("image_folder", f"a folder {part}", root, _LAYOUT)
    classes = sorted(p.name for p in (root / "train").iterdir() if p.is_dir())
    lists = {part: _list(root / part, classes) for part in ("train", "val", "test") if (root / part).is_dir()}

    def development() -> tuple[Arrays, Arrays]:
        fields = _read(lists["train"], size, mode)
        if "val" not in lists:
            return carve(fields, "label", validation, train, split_seed)
        return limit(fields, "label", train, split_seed), _read(lists["val"], size, mode)

    files = tuple(file for listing in lists.values() for file, _ in listing)
    return Source(development, lambda: _read(lists["test"], size, mode), files=files)


def _list(folder: Path, classes: list[str]) -> Listing:
    found = []
    for sub in sorted(p for p in folder.iterdir() if p.is_dir()):
        if sub.name not in classes:
            raise InputError(f"class '{sub.name}' of {folder} has no folder in train", hint=_LAYOUT)
        pictures = sorted(p for p in sub.iterdir() if p.suffix.lower() in _SUFFIXES)
        found += [(picture, classes.index(sub.name)) for picture in pictures]
    if not found:
        raise missing("image_folder", "pictures in folders named after their classes", folder, _LAYOUT)
    return found


def _read(listing: Listing, size: int | None, mode: str) -> Arrays:
    image = _pillow()
    arrays = [_picture(image, file, size, mode) for file, _ in listing]
    for (file, _), array in zip(listing, arrays, strict=True):
        if array.shape != arrays[0].shape:
            sizes = " x ".join(map(str, array.shape[1:])), " x ".join(map(str, arrays[0].shape[1:]))
            raise InputError(
                f"{file} is {sizes[0]} and {listing[0][0]} is {sizes[1]}", hint="`size: 64` makes all 64 x 64"
            )
    return {"image": np.stack(arrays), "label": np.array([label for _, label in listing], dtype=np.int64)}


def _picture(image: Any, file: Path, size: int | None, mode: str) -> Array:
    try:
        with image.open(file) as opened:
            picture = opened.convert("L" if mode == "grey" else "RGB")
            picture = picture if size is None else picture.resize((size, size), image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as error:
        raise InputError(f"cannot read the picture {file}: {error}") from error
    array = np.asarray(picture, dtype=np.uint8)
    return array[None] if mode == "grey" else array.transpose(2, 0, 1)


def _pillow() -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise InputError("reading pictures needs Pillow", hint="pip install 'assembler[images]'") from error
