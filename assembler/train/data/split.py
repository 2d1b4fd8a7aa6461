"""Splitting samples into parts that each hold every class in its share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assembler.errors import InputError
from assembler.train.data.source import Array, Arrays

Index = NDArray[np.int64]


def stratified(target: Array, count: int, seed: int) -> tuple[Index, Index]:
    """(the other indices, `count` chosen ones), both ascending; every class gives its share, by largest remainder.

    Targets that are not integers count as one class. The same seed gives the same split on every machine:
    numpy freezes the stream of `RandomState`.
    """
    classes = target if target.ndim == 1 and np.issubdtype(target.dtype, np.integer) else np.zeros(len(target), int)
    random = np.random.RandomState(seed)
    _, codes, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    exact = sizes * (count / max(1, len(target)))
    quota = np.floor(exact).astype(int)
    for label in np.argsort(quota - exact, kind="stable")[: count - int(quota.sum())]:
        quota[label] += 1
    members = [random.permutation(np.flatnonzero(codes == label)) for label in range(len(sizes))]
    chosen = np.zeros(len(target), bool)
    for indices, n in zip(members, quota, strict=True):
        chosen[indices[:n]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def carve(fields: Arrays, target: str, validation: float, train: int | None, seed: int) -> tuple[Arrays, Arrays]:
    """(train, validation) of `fields`: `validation` is a share below 1 or a count, `train` caps what is left.

    Raises InputError where there are too few samples for that.
    """
    total = len(fields[target])
    count = round(validation * total) if 0 < validation < 1 else int(validation)
    if not 0 < count < total:
        raise InputError(f"cannot take {validation:g} samples of {total} for validation", path="data")
    rest, chosen = stratified(fields[target], count, seed)
    return limit(take(fields, rest), target, train, seed), take(fields, chosen)


def limit(fields: Arrays, target: str, count: int | None, seed: int) -> Arrays:
    """A stratified choice of `count` samples, or all where it is None. Raises InputError where there are fewer."""
    total = len(fields[target])
    if count is None:
        return fields
    if not 0 < count <= total:
        raise InputError(f"cannot take {count} samples for training: there are {total}", path="data")
    return take(fields, stratified(fields[target], count, seed)[1])


def take(fields: Arrays, index: Index) -> Arrays:
    """The samples at `index` of every field."""
    return {name: array[index] for name, array in fields.items()}
