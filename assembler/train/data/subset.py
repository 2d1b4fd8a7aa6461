"""Part of another data set: some classes of it, or few samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data import core
from assembler.train.data.source import Arrays, Source
from assembler.train.data.split import limit, take
from assembler.train.spec import named_data


@dataset
def subset(
    of: str | dict[str, Any], classes: list[int] | None = None, train: int | None = None, seed: int = 0
) -> Source:
    """The samples of the data `of` that are of some `classes`, under their own labels; `train` caps those for training.

    `of` is written as under `data:`; the class is its first target. Which are taken depends on `seed`, and every class
    gives its share. Raises InputError where there is none of a class, or fewer samples than that.
    """
    whole = core.source_of(named_data(of))
    label = whole.targets[0] if whole.targets else ""

    def kept(fields: Arrays) -> Arrays:
        if classes is None:
            return fields
        if label not in fields:
            raise InputError("'classes' needs data with labels", path="data.classes")
        if absent := sorted({*classes} - {*fields[label].tolist()}):
            raise InputError(f"there is no sample of class {absent[0]}", path="data.classes")
        return take(fields, np.flatnonzero(np.isin(fields[label], classes)))

    def development() -> tuple[Arrays, Arrays]:
        first, second = whole.development()
        return limit(kept(first), label or next(iter(first)), train, seed), kept(second)

    return replace(whole, development=development, test=lambda: kept(whole.test()))
