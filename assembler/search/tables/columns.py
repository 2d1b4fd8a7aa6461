"""The columns of a table's file, .npz, .json or .csv (also .gz); nothing in a file is unpickled or run."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assembler.errors import InputError, near

SUFFIXES = (".npz", ".json", ".csv", ".json.gz", ".csv.gz")
KEY = "key"
"""The column of a JSON file's outer names, where it maps names to rows."""

_MOST_BYTES = 2**31
Column = NDArray[Any]


class Columns:
    """Named columns of equal length: [rows] or [rows, k] of numbers, or of texts."""

    def __init__(self, file: Path, columns: Mapping[str, Any], *, lines: Sequence[int] = ()) -> None:
        self.file = file
        self._columns = columns
        self._lines = lines

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self._columns)

    def get(self, name: str) -> Column:
        """A column. Raises InputError with the nearest names where there is none, or where it cannot be read."""
        if name not in self._columns:
            known = ", ".join(self.names[:20]) or "none"
            raise InputError(f"{self.file} has no column '{name}'", hint=near(name, self.names) or f"columns: {known}")
        found = self._columns[name]
        return found if isinstance(found, np.ndarray) else np.fromiter(found, dtype=object, count=len(found))

    def place(self, row: int) -> str:
        """Where a row (from 0) stands, for messages."""
        if self._lines:
            return f"{self.file}:{self._lines[row]}"
        return f"{self.file}, row {row}" + (f" ('{self.get(KEY)[row]}')" if KEY in self._columns else "")


def read(file: Path) -> Columns:
    """The columns of `file`. Raises InputError for a format that is not known and for what is wrong in the file."""
    name = file.name.lower()
    if not name.endswith(SUFFIXES):
        raise InputError(f"{file} is no table that can be read", hint=f"formats: {', '.join(SUFFIXES)}")
    try:
        if name.endswith(".npz"):
            return Columns(file, _Arrays(file))
        text = _text(file)
        return _json(file, text) if ".json" in name[-8:] else _csv(file, text)
    except (OSError, EOFError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error


def number(value: Any) -> float:
    """A cell as a number, NaN where it is empty. Raises ValueError where it is something else."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    if isinstance(value, bool | np.bool_) or not isinstance(value, str | int | float | np.number):
        raise ValueError(f"{value!r} is no number")
    return float(value)


class _Arrays(Mapping[str, Column]):
    """The arrays of an .npz, each read when it is asked for, none of Python objects."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with zipfile.ZipFile(file) as archive:
            self._entries = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
        self._read: dict[str, Column] = {}

    def __iter__(self) -> Any:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, name: str) -> Column:
        if name not in self._read:
            try:
                self._read[name] = self._array(name)
            except (ValueError, EOFError, OSError, zipfile.BadZipFile, MemoryError) as error:
                raise InputError(f"cannot read the array '{name}' of {self._file}: {error}") from error
        return self._read[name]

    def _array(self, name: str) -> Column:
        with zipfile.ZipFile(self._file) as archive, archive.open(self._entries[name]) as stream:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, kind = header(stream)
            if kind.hasobject:
                raise ValueError("it holds Python objects, which are not unpickled")
            size = math.prod(shape) * kind.itemsize
            if size > min(_MOST_BYTES, self._entries[name].file_size):
                raise ValueError(f"it says that it holds {size:,} bytes, which it does not, or which are too many")
        with zipfile.ZipFile(self._file) as archive, archive.open(self._entries[name]) as stream:
            found: Column = np.lib.format.read_array(stream, allow_pickle=False)
        return found


def _text(file: Path) -> str:
    with gzip.open(file, "rb") if file.name.lower().endswith(".gz") else file.open("rb") as stream:
        data = stream.read(_MOST_BYTES // 4 + 1)
    if len(data) > _MOST_BYTES // 4:
        raise InputError(f"{file} holds more than {_MOST_BYTES // 4:,} bytes", hint="use .npz for a table of that size")
    return data.decode("utf-8-sig")


def _csv(file: Path, text: str) -> Columns:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise InputError(f"{file}:{reader.line_num}: this is no CSV: {error}") from error
    if not rows:
        raise InputError(f"{file}:1: there is no line of column names")
    (first, names), *body = rows
    _unique(names, f"{file}:{first}")
    for line, row in body:
        if len(row) != len(names):
            raise InputError(f"{file}:{line}: {len(row)} cells where the first line names {len(names)} columns")
    columns = list(zip(*(row for _, row in body), strict=True)) or [()] * len(names)
    return Columns(file, dict(zip(names, columns, strict=True)), lines=[line for line, _ in body])


def _json(file: Path, text: str) -> Columns:
    try:
        data = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, file))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is no JSON: {error}") from error
    if isinstance(data, dict) and data and all(isinstance(v, list) for v in data.values()):
        lengths = {name: len(column) for name, column in data.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"{file}: its columns are of different lengths: {_listing(lengths)}")
        return Columns(file, {name: _cells(column) for name, column in data.items()})
    if isinstance(data, dict) and data and all(isinstance(v, dict) for v in data.values()):
        return _records(file, [{KEY: name, **row} for name, row in data.items()])
    if isinstance(data, list) and data and all(isinstance(v, dict) for v in data):
        return _records(file, data)
    hint = "a list of rows {column: value}, {name: row, ...}, or {column: [values]}"
    raise InputError(f"{file} holds no table", hint=hint)


def _records(file: Path, rows: Sequence[Mapping[str, Any]]) -> Columns:
    names = dict.fromkeys(name for row in rows for name in row)
    return Columns(file, {name: _cells([row.get(name) for row in rows]) for name in names})


def _cells(values: Sequence[Any]) -> Column:
    """A column of cells as they are; lists stay lists, whatever their lengths."""
    cells = (tuple(v) if isinstance(v, list) else v for v in values)
    return np.fromiter(cells, dtype=object, count=len(values))


def _object(pairs: Sequence[tuple[str, Any]], file: Path) -> dict[str, Any]:
    _unique([name for name, _ in pairs], str(file))
    return dict(pairs)


def _unique(names: Sequence[str], place: str) -> None:
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise InputError(f"{place}: the name '{twice}' stands twice")


def _listing(lengths: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {length}" for name, length in list(lengths.items())[:4])
