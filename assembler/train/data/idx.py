"""IDX files (the format of MNIST and its kin), plain or gzipped."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data.source import Array, Arrays, Source, images, labels, locate, missing
from assembler.train.data.split import carve

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 24


@dataset
def idx(
    train_images: str,
    train_labels: str,
    test_images: str,
    test_labels: str,
    path: str | None = None,
    train: int | None = None,
    validation: float = 0.1,
    split_seed: int = 0,
) -> Source:
    """Images and labels from four IDX files, named relative to `path` (default: the folder `ASSEMBLER_DATA`).

    `train` caps the training samples; `validation` is a share of the training files, or a count. Both are drawn with
    every class in its share, by `split_seed`.
    """
    files = find(path, ".", (train_images, train_labels, test_images, test_labels), name="idx")
    return pairs(files, train, validation, split_seed)


def find(path: str | None, default: str, names: tuple[str, ...], *, name: str, origin: str = "") -> tuple[Path, ...]:
    """The files of those names, each taken with or without `.gz`. Raises InputError that lists the missing ones."""
    folder = locate(path, default)
    files = [_either(folder / file) for file in names]
    if absent := [file for file, found in zip(names, files, strict=True) if found is None]:
        place = "put them there, or give `path`, or set ASSEMBLER_DATA to the folder above"
        what = f"{len(absent)} of its {len(names)} files ({', '.join(absent)})"
        raise missing(name, what, folder, f"{place}; {origin}" if origin else place)
    return tuple(file for file in files if file is not None)


def pairs(files: tuple[Path, ...], train: int | None, validation: float, seed: int) -> Source:
    """The data set of four IDX files: images and labels to train on, images and labels to test on."""

    def development() -> tuple[Arrays, Arrays]:
        return carve(_pair(files[0], files[1]), "label", validation, train, seed)

    return Source(development, lambda: _pair(files[2], files[3]), files=files)


def read_idx(path: Path) -> Array:
    """The array of one IDX file. Raises InputError where it is not one, is cut off or has bytes to spare."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
                raise InputError(f"{path} is not an IDX file: it begins with {head.hex(' ') or 'nothing'}")
            kind = np.dtype(_TYPES[head[2]])
            shape = np.frombuffer(file.read(4 * head[3]).ljust(4 * head[3], b"\0"), ">u4")
            size = math.prod(int(n) for n in shape) * kind.itemsize
            body = _read_most(file, size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if len(body) != size:
        found = f"only {len(body)}" if len(body) < size else "more"
        raise InputError(f"{path} is damaged: its header promises {size} bytes and there are {found}")
    return np.frombuffer(body, kind).reshape(shape).astype(kind.newbyteorder("="))


def _read_most(file: gzip.GzipFile | object, size: int) -> bytes:
    # In chunks: a forged header may promise more than there is memory.
    body = bytearray()
    while len(body) < size and (chunk := file.read(min(_CHUNK, size - len(body)))):  # type: ignore[union-attr]
        body += chunk
    return bytes(body)


def _pair(image: Path, label: Path) -> Arrays:
    x, y = images(read_idx(image)), labels(read_idx(label), str(label))
    if len(x) != len(y):
        raise InputError(f"{image} has {len(x)} images and {label} has {len(y)} labels")
    return {"image": x, "label": y}


def _either(path: Path) -> Path | None:
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    for candidate in (path, plain, plain.with_name(plain.name + ".gz")):
        if candidate.is_file():
            return candidate
    return None
