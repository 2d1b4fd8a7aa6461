"""A table: what every choice of a space is worth, measured beforehand, so that a search on it costs nothing."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assembler import resources
from assembler.errors import InputError, Problem, RecipeError, TaskError, near
from assembler.graph import Graph
from assembler.recipe.choices import Choice, Pick, Space, decide
from assembler.registry.checks import shown
from assembler.search.pareto import Direction
from assembler.search.tables.columns import Columns, number, read
from assembler.search.tables.description import Description, Where, describe
from assembler.search.tables.rows import Index, cells

_SHIPPED = Path(__file__).parent


class Table:
    """Metrics and costs by choice. A choice with several rows was measured several times."""

    def __init__(self, said: Description, columns: Columns) -> None:
        self._said = said
        self._columns = columns
        self._index = Index(said, columns)
        if not len(self._index):
            raise InputError(f"{columns.file}: the file has no rows")
        for where in (*(metric.where for metric in said.metrics.values()), *said.costs.values()):
            if where.column not in columns.names:
                cells(columns, where)  # raises, at the description's line
        self._numbers: dict[str, NDArray[np.float64]] = {}

    @property
    def name(self) -> str:
        """What the description calls it."""
        return self._said.name

    @property
    def space(self) -> Space:
        """The space that it covers, all of it or a part."""
        return self._said.space

    @cached_property
    def metrics(self) -> dict[str, Direction]:
        """Metrics and which way each is better."""
        return {name: metric.goal for name, metric in self._said.metrics.items()}

    def __len__(self) -> int:
        """How many choices it holds."""
        return len(self._index)

    def choices(self) -> Iterator[Choice]:
        """Every choice that it holds."""
        return self._index.choices()

    def evaluate(self, choice: Mapping[str, Pick], metric: str, rng: random.Random | None = None) -> float:
        """A choice's metric: the mean of those of its measurements that have a number, or with `rng` one of them.

        Raises InputError for an unknown metric, RecipeError for a choice that is not in the table, TaskError where
        the table has no number for it.
        """
        numbers = self.column(metric)
        there = [value for row in self._rows(choice) if math.isfinite(value := float(numbers[row]))]
        if not there:
            raise TaskError(f"table '{self.name}' has no {metric} for {self._words(choice)}")
        return rng.choice(there) if rng else sum(there) / len(there)

    def column(self, metric: str) -> NDArray[np.float64]:
        """A metric's number in every row, NaN where it is empty.

        Raises InputError or RecipeError for an unknown metric, or where its column holds something else.
        """
        if metric not in self._said.metrics:
            hint = near(metric, self.metrics) or f"metrics: {', '.join(self.metrics)}"
            raise InputError(f"table '{self.name}' has no metric '{metric}'", hint=hint)
        return self._column(metric, self._said.metrics[metric].where)

    def costs(self, choice: Mapping[str, Pick]) -> dict[str, float]:
        """The costs of a choice, which budgets are held against. Raises RecipeError where it is not in the table."""
        rows = self._rows(choice)
        return {n: float(np.mean(self._column(n, w)[list(rows)])) for n, w in self._said.costs.items()}

    def graph(self, choice: Mapping[str, Pick]) -> Graph:
        """The architecture of a choice. Raises InputError where the table names no space."""
        if self._said.model is None:
            hint = "name the recipe whose choices these are: `space: FILE`"
            raise InputError(f"table '{self.name}' does not say what its choices build", hint=hint)
        from assembler.wiring.build import build

        return build(decide(self._said.model, dict(choice)))

    @property
    def has_graphs(self) -> bool:
        """Whether it can tell the architectures of its choices."""
        return self._said.model is not None

    def best(self, metric: str) -> tuple[Choice, float]:
        """The choice that is best in a metric, the first of equals, and its value."""
        sign = -1 if self.metrics.get(metric) == "minimize" else 1
        scored = [
            (sign * value, choice) for choice in self.choices() if (value := self.known(choice, metric)) is not None
        ]
        if not scored:
            raise TaskError(f"table '{self.name}' has no {metric} at all")
        value, choice = max(scored, key=lambda one: one[0])
        return choice, sign * value

    def known(self, choice: Choice, metric: str) -> float | None:
        """A choice's metric, or None where the table has no number for it."""
        try:
            return self.evaluate(choice, metric)
        except TaskError:
            return None

    def _rows(self, choice: Mapping[str, Pick]) -> tuple[int, ...]:
        rows = self._index.rows(choice)
        if not rows:
            self.space.check(choice)
            raise RecipeError(f"table '{self.name}' has no row for {self._words(choice)}")
        return rows

    def _words(self, choice: Mapping[str, Pick]) -> str:
        return ", ".join(f"{name}={label}" for name, label in self.space.named(choice).items())

    def _column(self, name: str, where: Where) -> NDArray[np.float64]:
        if name not in self._numbers:
            self._numbers[name] = self._floats(name, where)
        return self._numbers[name]

    def _floats(self, name: str, where: Where) -> NDArray[np.float64]:
        found = cells(self._columns, where)
        if found.ndim != 1:
            said = f"column '{where.column}' holds {found.shape[1]} numbers a row; say which one '{name}' is"
            raise RecipeError(Problem(said, where.span, hint=f"{name}: {{column: {where.column}, at: 0}}"))
        if found.dtype.kind in "iuf":
            return found.astype(np.float64)
        made = np.empty(len(found))
        for row, cell in enumerate(found.tolist()):
            try:
                made[row] = number(cell)
            except ValueError:
                said = f"{self._columns.place(row)}: '{name}' is a number, not {shown(cell)}"
                if not isinstance(cell, tuple):
                    raise InputError(said) from None
                hint = f"say which one: {name}: {{column: {where.column}, at: 0}}"
                raise RecipeError(Problem(said, where.span, hint=hint)) from None
        return made


def open_table(ref: str | Path, data: Path | None = None) -> Table:
    """The table of a description, by file or by the name of one that is shipped (`nas_bench_201`).

    Its data file is looked for beside the description, in `data`, and under `$ASSEMBLER_DATA` in the folder of the
    table's name. Raises InputError where it is not found.
    """
    path = Path(ref)
    if not path.is_file():
        path = _shipped(str(ref))
    said = describe(path)
    return Table(said, read(_data(said, data)))


def shipped() -> tuple[str, ...]:
    """Names of the descriptions that are shipped."""
    return tuple(sorted(file.stem for file in _SHIPPED.glob("*.yaml")))


def _shipped(name: str) -> Path:
    if name in shipped():
        return _SHIPPED / f"{name}.yaml"
    hint = near(name, shipped()) or f"a description's file, or one of: {', '.join(shipped())}"
    raise InputError(f"there is no table '{name}'", hint=hint)


def _data(said: Description, given: Path | None) -> Path:
    home = resources.data_home()
    folders = [said.source.parent] if given is None else []
    folders += [given, given / said.name] if given else []
    folders += [home / said.name, home] if home and given is None else []
    for folder in folders:
        if (folder / said.file).is_file():
            return folder / said.file
    looked = ", ".join(str(folder) for folder in folders)
    hint = f"looked in {looked}; name its folder, or set ASSEMBLER_DATA to the folder that holds {said.name}/"
    raise InputError(f"table '{said.name}' needs the file {said.file}", hint=hint)
