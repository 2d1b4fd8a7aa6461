"""Random tokens that are said again, for what copies from its context."""

from __future__ import annotations

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data.source import Array, Arrays, Declared, Source, sample

_PARTS = {"train": 1, "validation": 2, "test": 3}


@dataset
def repeats(
    train: int = 2000,
    validation: int = 500,
    test: int = 500,
    length: int = 32,
    words: int = 64,
    period: list[int] | None = None,
    seed: int = 0,
) -> Source:
    """Texts `tokens` [length] of random tokens that begin again, `next` [length], and `repeated`, 1 where they have.

    `next` are the tokens that follow. A sequence begins again after half of it, or after a number of tokens drawn from
    `period`, the least and the most. Within a period no token comes twice, so that in what is said again each token
    follows from where it stood before, as induction heads find it (Olsson et al. 2022), and before that from nothing.
    Raises InputError where there are fewer words than the period is long.
    """
    least, most = period or [(length + 1) // 2] * 2
    if not 0 < least <= most <= words:
        said = f"repeats need a period from 1 to {words}, the words, not from {least} to {most}"
        raise InputError(said, path="data.period", hint="for instance {length: 32, words: 64, period: [8, 16]}")

    def draw(count: int, part: str) -> Arrays:
        random = np.random.RandomState([seed, _PARTS[part]])
        first = np.argsort(random.random_sample((count, words)), axis=1)[:, :most]
        period = random.randint(least, most + 1, size=(count, 1))
        text: Array = np.take_along_axis(first, np.arange(length + 1) % period, axis=1).astype(np.int64)
        repeated = (np.arange(length) >= period).astype(np.int64)
        return {"tokens": text[:, :-1], "next": text[:, 1:], "repeated": repeated}

    kinds = {name: sample(length, dtype="int64") for name in ("tokens", "next", "repeated")}
    return Source(
        lambda: (draw(train, "train"), draw(validation, "validation")),
        lambda: draw(test, "test"),
        targets=("next",),
        declared=lambda: Declared(kinds, words),
    )
