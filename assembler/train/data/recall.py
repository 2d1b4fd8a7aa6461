"""Pairs to be remembered, and a key whose value is asked for."""

from __future__ import annotations

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data.source import LABEL, Arrays, Declared, Source, sample


@dataset
def associative_recall(
    train: int = 8000,
    validation: int = 1000,
    test: int = 1000,
    length: int = 64,
    keys: int = 64,
    values: int = 16,
    apart: int = 1,
    seed: int = 0,
) -> Source:
    """Tokens `key` and `value` [length], whose last asks: its key stood before, with the value that is the `label`.

    The keys before it, 0 to `keys` - 1, differ from each other; values are 0 to `values` - 1, and the last token's is
    `values`, which stands for none. The answer stands at least `apart` places before the question (associative recall,
    Ba et al. 2016, arXiv 1610.06258; Arora et al. 2024, arXiv 2312.04927). Raises InputError for fewer keys than pairs.
    """
    if not 0 < apart < length <= keys + 1 or values < 2:
        raise InputError(
            "associative recall needs apart < length <= keys + 1, and two values",
            path="data",
            hint="for instance {length: 64, keys: 64, values: 16}",
        )

    def draw(count: int, part: int) -> Arrays:
        random = np.random.RandomState([seed, part])
        key = np.argsort(random.random_sample((count, keys)), axis=1)[:, :length]
        key = np.pad(key, ((0, 0), (0, length - key.shape[1])))  # with length - 1 keys the last place is filled below
        value = random.randint(values, size=(count, length))
        asked = random.randint(length - apart, size=count)
        rows = np.arange(count)
        label = value[rows, asked]
        key[:, -1], value[:, -1] = key[rows, asked], values
        return {"key": key.astype(np.int64), "value": value.astype(np.int64), "label": label.astype(np.int64)}

    ids = sample(length, dtype="int64")
    held = Declared({"key": ids, "value": ids, "label": LABEL}, values)
    return Source(lambda: (draw(train, 1), draw(validation, 2)), lambda: draw(test, 3), declared=lambda: held)
