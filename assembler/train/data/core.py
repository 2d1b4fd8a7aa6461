"""From a recipe's `data:` to tensors: train and validation by `load`, the test split by `load_test` alone."""

from __future__ import annotations

import functools
import hashlib
import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assembler.errors import AssemblerError, InputError
from assembler.graph.core import TensorType
from assembler.registry import Entry
from assembler.train.arguments import check, entry_of
from assembler.train.data.returned import as_source, kind_of
from assembler.train.data.source import Array, Arrays, Declared, Source

_CHUNK = 4096
_SMALL = 1 << 24
"""Files of up to so many bytes are read to tell what is in them."""
Statistics = Mapping[str, tuple[Array, Array]]


@dataclass(frozen=True, eq=False)
class Split:
    """Samples as tensors by field, axis 0 the sample. Fields in `targets` are compared with, the rest fed to the model.

    The tensors may be shared with other holders of the split: do not write into them.
    """

    fields: Mapping[str, Tensor]
    targets: tuple[str, ...] = ("label",)

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the fields that a model is fed."""
        return tuple(name for name in self.fields if name not in self.targets)

    def to(self, device: torch.device | str) -> Split:
        """The split with its tensors on `device`."""
        return Split({name: tensor.to(device) for name, tensor in self.fields.items()}, self.targets)

    def head(self, count: int) -> Split:
        """The first `count` samples."""
        return Split({name: tensor[:count] for name, tensor in self.fields.items()}, self.targets)


@dataclass(frozen=True, eq=False)
class Data:
    """What training and choices may see. `inputs` types the fields that a model is fed, with a batch of 2.

    `classes` is the number of classes, or None where the target is not a class.
    """

    train: Split
    validation: Split
    inputs: Mapping[str, TensorType]
    classes: int | None


def load(spec: Mapping[str, Any]) -> Data:
    """Train and validation of `{name: digits, **arguments}`, standardised by the training mean and deviation.

    Read once in a process. Raises InputError for an unknown name or argument and for missing or damaged files.
    """
    return _development(*_key(spec))[0]


def load_test(spec: Mapping[str, Any]) -> Split:
    """The test split, standardised like the training one. For the final table only: nothing is chosen by it.

    Raises InputError as `load` does.
    """
    data, statistics = _development(*_key(spec))
    source = source_of(spec)
    return _tensors(source.test(), source, statistics, "test", data.inputs)


def standardised(spec: Mapping[str, Any], like: Mapping[str, Any], parts: Sequence[str]) -> list[Arrays]:
    """Splits of the data as arrays, brought to the scale of the training split of `like` where that has the field.

    Raises InputError as `load` does.
    """
    own = source_of(spec)
    statistics = {**_development(*_key(spec))[1], **_development(*_key(like))[1]}
    read = {"test": own.test()} if "test" in parts else {}
    if {"train", "validation"} & {*parts}:
        read |= dict(zip(("train", "validation"), own.development(), strict=True))
    return [{n: _scaled(array, statistics.get(n)) for n, array in read[part].items()} for part in parts]


def declared(spec: Mapping[str, Any], *, read: bool = False) -> Declared | None:
    """What the fields of the data are, without reading more than a few megabytes unless `read` says so; None without.

    Raises InputError as `load` does.
    """
    source = source_of(spec)
    if source.declared is not None:
        return source.declared()
    if not read and not 0 < sum(_stat(file)[0] for file in source.files) <= _SMALL:
        return None
    data = load(spec)
    return Declared({name: _type(tensor) for name, tensor in data.train.fields.items()}, data.classes)


def licence(spec: Mapping[str, Any]) -> str:
    """The licence of the data, "" where nobody says it. Raises InputError as `load` does."""
    return source_of(spec).licence


def fingerprint(spec: Mapping[str, Any]) -> str:
    """A digest of what the data is: name, arguments, the code that reads it and the bytes of its files."""
    entry, args = _resolve(spec)
    source = _call(entry, args)
    digest = hashlib.blake2b(json.dumps([entry.name, entry.code, args], sort_keys=True).encode(), digest_size=16)
    for file in source.files:
        digest.update(_content(file, *_stat(file)))
    if source.content:
        digest.update(source.content())
    return digest.hexdigest()


def _resolve(spec: Mapping[str, Any]) -> tuple[Entry, dict[str, Any]]:
    name = spec.get("name")
    if not isinstance(name, str):
        raise InputError("data needs a 'name', a string", path="data", hint="{name: digits}")
    entry = entry_of("dataset", name, path="data", error=InputError)
    given = {key: value for key, value in spec.items() if key != "name"}
    return entry, check(entry, given, path="data", reserved=("name",), error=InputError)


_HELD: dict[tuple[str, str, str], Source] = {}
"""Data sets that lie in memory, by name, code and arguments: such a function is called once in a process."""
_MOST_HELD = 4


def _call(entry: Entry, args: Mapping[str, Any]) -> Source:
    key = (entry.name, entry.code, json.dumps(args))
    if key in _HELD:
        return _HELD[key]
    source = as_source(_returned(entry, args), entry.name)
    if source.content:
        for old in list(_HELD)[: len(_HELD) - _MOST_HELD + 1]:
            del _HELD[old]
        _HELD[key] = source
    return source


def _returned(entry: Entry, args: Mapping[str, Any]) -> object:
    """What the function of a data set returns. Raises InputError with its place where a plug-in's own code fails."""
    function = entry.load()
    try:
        return function(**args)
    except (AssemblerError, MemoryError):
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[1:][:1]
        if entry.module.startswith("assembler.") or not frame:
            raise
        said = f"data set '{entry.name}' failed with {type(error).__name__}: {error}"
        raise InputError(said, path="data", hint=f"{frame[0].filename}:{frame[0].lineno}: {frame[0].line}") from error


def source_of(spec: Mapping[str, Any]) -> Source:
    """The data set that a recipe's `data:` names. Raises InputError for an unknown name or argument."""
    entry, args = _resolve(spec)
    return _call(entry, args)


def _key(spec: Mapping[str, Any]) -> tuple[str, tuple[tuple[str, int, int], ...], bytes]:
    source = source_of(spec)
    files = tuple((str(file), *_stat(file)) for file in source.files)
    return json.dumps(dict(spec), sort_keys=True), files, source.content() if source.content else b""


@functools.lru_cache(maxsize=4)
def _development(spec: str, files: tuple[tuple[str, int, int], ...], content: bytes) -> tuple[Data, Statistics]:
    source = source_of(json.loads(spec))
    train, validation = source.development()
    statistics = {name: _moments(train[name]) for name in train if _standardised(name, train[name], source)}
    first = _tensors(train, source, statistics, "train", None)
    inputs = {name: _type(first.fields[name]) for name in first.inputs}
    second = _tensors(validation, source, statistics, "validation", inputs)
    return Data(first, second, inputs, _classes(first, second)), statistics


def _tensors(
    arrays: Arrays, source: Source, statistics: Statistics, part: str, inputs: Mapping[str, TensorType] | None
) -> Split:
    fields = {}
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise InputError(f"field '{name}' of the {part} split has values that are not finite", path="data")
        if inputs and name in inputs and array.shape[1:] != inputs[name].shape[1:]:
            shapes = f"{list(array.shape[1:])}, in the train split {list(inputs[name].shape[1:])}"
            raise InputError(f"field '{name}' of the {part} split is {shapes}", path="data")
        fields[name] = _tensor(array, statistics.get(name))
    if not fields or not len(next(iter(fields.values()))):
        raise InputError(f"the {part} split is empty", path="data")
    return Split(fields, source.targets)


def _tensor(array: Array, moments: tuple[Array, Array] | None) -> Tensor:
    if moments is not None:
        mean, deviation = (torch.from_numpy(m) for m in moments)
        return torch.from_numpy(np.array(array, np.float32)).sub_(mean).div_(deviation)
    return torch.from_numpy(np.array(array, kind_of(array).dtype))


def _scaled(array: Array, moments: tuple[Array, Array] | None) -> Array:
    return array if moments is None else _tensor(array, moments).numpy()


def _standardised(name: str, array: Array, source: Source) -> bool:
    if source.standardised is not None:
        return name in source.standardised
    return name not in source.targets and (array.dtype == np.uint8 or np.issubdtype(array.dtype, np.floating))


def _moments(array: Array) -> tuple[Array, Array]:
    """Mean and deviation over all axes but axis 1, shaped to broadcast over one sample; a constant's deviation is 1."""
    axes = (0, *range(2, array.ndim))
    total, square = np.zeros(array.shape[1:2]), np.zeros(array.shape[1:2])
    for start in range(0, len(array), _CHUNK):
        chunk = array[start : start + _CHUNK].astype(np.float64)
        total, square = total + chunk.sum(axes), square + np.square(chunk).sum(axes)
    count = array.size / max(1, total.size)
    mean = total / max(1, count)
    deviation = np.sqrt(np.maximum(square / max(1, count) - mean**2, 0))
    shape = (-1, *(1 for _ in axes[1:])) if array.ndim > 1 else ()
    deviation = np.where(deviation > 1e-6 * (1 + np.abs(mean)), deviation, 1.0)
    return mean.reshape(shape).astype(np.float32), deviation.reshape(shape).astype(np.float32)


def _type(tensor: Tensor) -> TensorType:
    return TensorType((2, *tensor.shape[1:]), str(tensor.dtype).removeprefix("torch."))


def _classes(train: Split, validation: Split) -> int | None:
    name = train.targets[0] if train.targets else ""
    if name not in train.fields or train.fields[name].is_floating_point():
        return None
    return int(max(train.fields[name].max(), validation.fields[name].max())) + 1


def _stat(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=65536)
def _content(file: Path, size: int, changed: int) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).digest()
