"""Queries and the documents that they ask for, in made-up words, for embeddings that find one by the other."""

from __future__ import annotations

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data.source import LABEL, Array, Arrays, Declared, Source, sample

_PARTS = {"train": 1, "validation": 2, "test": 3}


@dataset
def retrieval(
    train: int = 4096,
    validation: int = 400,
    test: int = 400,
    concepts: int = 60,
    spellings: int = 3,
    length: int = 8,
    asked: int = 4,
    noise: int = 6,
    words: int = 60,
    repositories: int = 0,
    vocabulary: int = 30,
    seed: int = 0,
) -> Source:
    """Documents of `length` concepts, each spelled one of several ways, and queries for some of their concepts.

    A `document` [length] is as many of the `concepts`, in any order; its `query` [asked + noise] is `asked` of them,
    spelled otherwise, among `noise` words of another list of `words`; its `twin` [length] all of them, spelled and
    ordered otherwise. Nothing but training tells which spellings are of one concept. With `repositories` each document
    is of one, which knows `vocabulary` of the concepts, and a `neighbour` [length] is a document of the same
    repository where `same` is 1, as it is for half of them, and of another one where it is 0.

    Token 0 stands nowhere and is free for masks; the spellings of a concept follow on one another from 1 on, then
    come the words: 1 + concepts * spellings + words tokens in all.
    """
    if not 0 < asked <= length <= (vocabulary if repositories else concepts) <= concepts or repositories == 1:
        raise InputError(
            "retrieval needs asked <= length <= concepts, and with repositories at least two, of length <= vocabulary",
            path="data",
            hint="for instance {concepts: 60, length: 8, asked: 4, repositories: 6, vocabulary: 30}",
        )
    known = _some(np.random.RandomState(seed), max(repositories, 1), concepts, vocabulary if repositories else concepts)

    def draw(count: int, part: str) -> Arrays:
        random = np.random.RandomState([seed, _PARTS[part]])
        owner = random.randint(len(known), size=count)
        meant = _of(random, known[owner], length)
        spelled = random.randint(spellings, size=meant.shape)
        again = (spelled + random.randint(1, max(spellings, 2), size=meant.shape)) % spellings
        extra = 1 + concepts * spellings + random.randint(words, size=(count, noise))
        tokens, other = (1 + meant * spellings + way for way in (spelled, again))
        query = _mixed(random, np.concatenate([other[:, :asked], extra], axis=1))
        found = {"query": query, "document": _mixed(random, tokens), "twin": _mixed(random, other)}
        if repositories:
            same = np.arange(count) % 2
            owner = (owner + (1 - same) * random.randint(1, repositories, size=count)) % repositories
            near = _of(random, known[owner], length)
            found["neighbour"] = 1 + near * spellings + random.randint(spellings, size=near.shape)
            found["same"] = same
        return {name: field.astype(np.int64) for name, field in found.items()}

    kinds = {name: sample(size, dtype="int64") for name, size in _sizes(length, asked + noise, repositories).items()}
    held = Declared({**kinds, "same": LABEL} if repositories else kinds, 2 if repositories else None)
    return Source(
        lambda: (draw(train, "train"), draw(validation, "validation")),
        lambda: draw(test, "test"),
        targets=("same",) if repositories else (),
        declared=lambda: held,
    )


def _sizes(length: int, asked: int, repositories: int) -> dict[str, int]:
    """The tokens of each field."""
    found = {"query": asked, "document": length, "twin": length}
    return {**found, "neighbour": length} if repositories else found


def _some(random: np.random.RandomState, rows: int, of: int, count: int) -> Array:
    """`count` different numbers below `of` in each row, in random order."""
    return np.argsort(random.random_sample((rows, of)), axis=1)[:, :count]


def _of(random: np.random.RandomState, rows: Array, count: int) -> Array:
    """`count` different elements of each row, in random order."""
    return np.take_along_axis(rows, _some(random, len(rows), rows.shape[1], count), axis=1)


def _mixed(random: np.random.RandomState, rows: Array) -> Array:
    """Each row in another order."""
    return _of(random, rows, rows.shape[1])
