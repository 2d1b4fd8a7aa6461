"""What a `@dataset` function returns: how to read its splits, as arrays, when they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assembler.errors import InputError
from assembler.graph.core import TensorType
from assembler.resources import data_home

Array = NDArray[Any]
Arrays = dict[str, Array]
"""Fields of a split by name, axis 0 the sample: `{"image": [N, C, H, W], "label": [N]}`."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a data set holds, told without reading its samples: the type of every field, as tensors with a batch of 2.

    `classes` is how many there are of the first target, None where it is not a class or that is not known.
    """

    fields: Mapping[str, TensorType]
    classes: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A data set that nothing has been read of yet.

    `development` reads (train, validation) and `test` reads the test split; `files` is all that either reads.
    Fields not among `targets` are inputs of the model: float and uint8 ones are standardised, other integers (tokens)
    are left as they are; `standardised` names other ones to standardise. `declared` tells what the fields are without
    reading them, where that can be told. `content` is a digest of data that lies in no file. `licence` is that of the
    data, for the cards of what is trained on it.

    >>> Source(lambda: (read("train"), read("validation")), lambda: read("test"), files=(Path("a.npz"),))
    """

    development: Callable[[], tuple[Arrays, Arrays]]
    test: Callable[[], Arrays]
    files: tuple[Path, ...] = ()
    targets: tuple[str, ...] = ("label",)
    declared: Callable[[], Declared] | None = None
    standardised: tuple[str, ...] | None = None
    content: Callable[[], bytes] | None = None
    licence: str = ""


def sample(*shape: int, dtype: str = "float32") -> TensorType:
    """The type of a field whose samples have this shape."""
    return TensorType((2, *shape), dtype)


LABEL = sample(dtype="int64")
"""The type of a field of class numbers."""


def locate(path: str | None, default: str) -> Path:
    """Where a data set lies: `path` (relative to the working directory, else to `ASSEMBLER_DATA`), or `default` there.

    The result need not exist.
    """
    home = data_home()
    if path is None:
        return (home or Path()) / default
    given = Path(path).expanduser()
    if given.is_absolute() or given.exists() or home is None:
        return given
    return home / given


def missing(name: str, what: str, where: Path, hint: str) -> InputError:
    """The error for data that is not there: what was looked for, where, and how to put it right."""
    home = data_home()
    looked = "ASSEMBLER_DATA is not set" if home is None else f"ASSEMBLER_DATA is {home}"
    return InputError(f"data set '{name}' needs {what} in {where.absolute()} ({looked})", hint=hint)


def images(array: Array) -> Array:
    """Images as [N, C, H, W]: [N, H, W] gets one channel, any other number of axes stays as it is."""
    return array[:, None] if array.ndim == 3 else array


IGNORED = -100
"""The label of what no loss or metric looks at, as in torch."""


def labels(array: Array, where: str) -> Array:
    """Labels as int64 [N] or [N, ...] (a class for every place of a map), or float targets as they are.

    Raises InputError for labels below 0 other than -100, which losses and metrics leave out.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if np.issubdtype(array.dtype, np.floating):
        return array
    if not array.ndim or not (np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_):
        raise InputError(f"{where} must be integers [N] or [N, ...], or floats, not {array.dtype} {list(array.shape)}")
    found = array.astype(np.int64)
    if wrong := found[(found < 0) & (found != IGNORED)][:1].tolist():
        hint = "labels count from 0; -100 is a place without one"
        raise InputError(f"{where} has the label {wrong[0]}", hint=hint)
    return found
