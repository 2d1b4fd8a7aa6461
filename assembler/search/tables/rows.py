"""Which rows of a table's file hold a choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from assembler.errors import InputError, Problem, RecipeError, near
from assembler.recipe.choices import Choice, Decision, Pick
from assembler.search.moves import Frozen, frozen, is_active
from assembler.search.tables.columns import Column, Columns
from assembler.search.tables.description import Description, Where, filled

Rows = tuple[int, ...]


class Index:
    """Finds rows by choice. A choice may have several rows, which are repeated measurements of it."""

    def __init__(self, said: Description, columns: Columns) -> None:
        self._said = said
        self._rows: dict[Any, Rows] = {}
        if said.key:
            where, _ = said.key
            entries: Iterator[Any] = (_text(cell) for cell in cells(columns, where))
        elif said.ordered:
            entries = (frozen(choice) for choice in _grid(said, columns))
        else:
            entries = _read(said, columns)
        for row, entry in enumerate(entries):
            self._rows[entry] = (*self._rows.get(entry, ()), row)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, choice: Mapping[str, Pick]) -> Rows:
        """The rows of a choice, none where it is not in the table."""
        if self._said.key:
            return self._rows.get(filled(self._said.key[1], self._said.space.named(choice)), ())
        return self._rows.get(frozen(choice), ())

    def choices(self) -> Iterator[Choice]:
        """Every choice that is in the table, in the order of its first row."""
        if self._said.key:
            found = sorted((rows[0], frozen(c)) for c in self._said.space.every() if (rows := self.rows(c)))
            yield from (self._ordered(key) for _, key in found)
        else:
            yield from map(self._ordered, self._rows)

    def _ordered(self, key: Frozen) -> Choice:
        picks = dict(key)
        return {d.name: picks[d.name] for d in self._said.space.decisions if d.name in picks}


def cells(columns: Columns, where: Where) -> Column:
    """The cells that a description points at. Raises RecipeError, at the description's line, where there are none."""
    try:
        found = columns.get(where.column)
    except InputError as error:
        raise RecipeError(error.at(where.span).problems) from None
    if where.at is None:
        return found
    width = found.shape[1] if found.ndim == 2 else min((_width(cell) for cell in found), default=0)
    if where.at >= width:
        said = f"column '{where.column}' holds {width or 'no'} numbers a row, so there is none at {where.at}"
        raise RecipeError(Problem(said, where.span))
    return (
        found[:, where.at]
        if found.ndim == 2
        else np.fromiter((cell[where.at] for cell in found), dtype=object, count=len(found))
    )


def _width(cell: Any) -> int:
    return len(cell) if isinstance(cell, tuple) else 0


def _grid(said: Description, columns: Columns) -> Iterator[Choice]:
    first = next(iter(said.metrics.values())).where
    rows, size = len(cells(columns, first)), said.space.size
    if rows != size:
        raise RecipeError(Problem(f"{columns.file} has {rows:,} rows, but the space {size:,} choices", said.rows))
    return said.space.every()


def _read(said: Description, columns: Columns) -> Iterator[Frozen]:
    decisions = said.space.decisions
    readers = [_reader(d, said.columns[d.name]) for d in decisions]
    cellses = [cells(columns, said.columns[d.name]) for d in decisions]
    lists = [c.tolist() for c in cellses]
    if len({len(c) for c in lists}) > 1:
        lengths = ", ".join(f"{d.name} {len(c)}" for d, c in zip(decisions, lists, strict=True))
        raise InputError(f"{columns.file}: the decisions' columns are of different lengths: {lengths}")
    for row, picks in enumerate(zip(*lists, strict=True)):
        choice: Choice = {}
        for d, read, cell in zip(decisions, readers, picks, strict=True):
            if d.when and not is_active(d, choice):
                continue
            pick = read(cell)
            if pick is None:
                raise InputError(f"{columns.place(row)}: '{d.name}' cannot be {cell!r}", hint=_allowed(d, said, cell))
            choice[d.name] = pick
        yield frozen(choice)


def _reader(d: Decision, where: Where) -> Callable[[Any], Pick | None]:
    """From a cell to a pick, or None where it is no pick of the decision."""
    spelled = where.values or d.labels
    if where.values and len(where.values) != len(d.labels):
        said = f"'values' of '{d.name}' are {len(where.values)}, but it has {len(d.labels)} candidates"
        raise RecipeError(Problem(said, where.span, hint=f"candidates: {', '.join(d.labels)}"))
    numbers = {str(i): i for i in range(len(d.labels))} if where.codes else {}
    known = numbers or {_text(word): i for i, word in enumerate(spelled)}
    cached: dict[Any, Pick | None] = {}

    def read(cell: Any) -> Pick | None:
        if isinstance(cell, list):
            cell = tuple(cell)
        if cell not in cached:
            cached[cell] = _pick(d, cell, known)
        return cached[cell]

    return read


def _pick(d: Decision, cell: Any, known: Mapping[str, int]) -> Pick | None:
    if d.kind == "oneof":
        return known.get(_text(cell))
    if d.kind == "int":
        text = _text(cell)
        pick = int(text) if text.lstrip("-").isdigit() else None
        return pick if pick is not None and d.accepts(pick) else None
    words: Sequence[Any] = cell if isinstance(cell, tuple) else str(cell).split("+")
    picks = [known.get(_text(word)) for word in words]
    if any(p is None for p in picks):
        return None
    several = tuple(p for p in picks if p is not None)
    several = tuple(sorted(several)) if d.sorted else several
    return several if d.accepts(several) else None


def _text(cell: Any) -> str:
    """A cell as a label: numbers that are equal read the same, whatever way they are written."""
    if isinstance(cell, bool | np.bool_):
        return str(bool(cell))
    text = str(cell).strip()
    if text.lower() in ("true", "false"):
        return text.capitalize()
    try:
        value = float(text)
    except ValueError:
        return text
    return str(int(value)) if value.is_integer() else repr(value)


def _allowed(d: Decision, said: Description, cell: Any) -> str:
    where = said.columns[d.name]
    if d.kind == "int":
        return f"whole numbers from {d.low} to {d.high}"
    if where.codes:
        return f"candidates are numbered from 0 to {len(d.labels) - 1}"
    spelled = where.values or d.labels
    return near(str(cell), spelled) or f"candidates: {', '.join(spelled)}"
