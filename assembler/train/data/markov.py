"""Texts of Markov chains of any order, over alphabets that overlap."""

from __future__ import annotations

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data.source import LABEL, Array, Arrays, Declared, Source, sample

_PARTS = {"train": 1, "validation": 2, "test": 3}
_MOST = 2**22  # numbers in the tables of all languages


@dataset
def markov(
    train: int = 2000,
    validation: int = 500,
    test: int = 500,
    length: int = 32,
    order: int = 2,
    alphabets: list[list[int]] | None = None,
    concentration: float = 0.1,
    seed: int = 0,
) -> Source:
    """Texts `tokens` [length] in languages of random Markov chains, the `next` [length] tokens, and the `label`.

    A text is in one language, whose number is its label; each is equally frequent. The next token depends on the last
    `order`: for each of their combinations its probabilities are drawn from a symmetric Dirichlet distribution, with
    little `concentration` few followers for each. `alphabets` are the first and last token of each language, by default
    [[0, 9], [6, 15]]: what lies in two of them belongs to both. Another length, or one language more at the end, leaves
    the languages as they are; another seed makes others.
    """
    spans = alphabets or [[0, 9], [6, 15]]
    sizes = [last - first + 1 for first, last in spans]
    if min(sizes) < 2 or min(first for first, _ in spans) < 0 or order < 1 or length < 1 or concentration <= 0:
        said = "markov needs alphabets [first, last] of two tokens or more, an order, a length and a concentration"
        raise InputError(said, path="data", hint="for instance {alphabets: [[0, 9], [6, 15]], order: 2, length: 32}")
    if sum(size ** (order + 1) for size in sizes) > _MOST:
        said = f"the languages of markov have more than {_MOST:,} probabilities, one for each {order + 1} tokens"
        raise InputError(said, path="data.order", hint="give it a lower order or smaller alphabets")
    random = np.random.RandomState(seed)
    tables = [random.dirichlet([concentration] * size, size=size**order).cumsum(axis=1) for size in sizes]

    def draw(count: int, part: str) -> Arrays:
        random = np.random.RandomState([seed, _PARTS[part]])
        label = np.arange(count) % len(spans)
        text = np.zeros((count, length + 1), dtype=np.int64)
        for number, (first, _) in enumerate(spans):
            mine = label == number
            text[mine] = first + _text(random, tables[number], sizes[number], order, (int(mine.sum()), length + 1))
        return {"tokens": text[:, :-1], "next": text[:, 1:], "label": label.astype(np.int64)}

    ids = sample(length, dtype="int64")
    return Source(
        lambda: (draw(train, "train"), draw(validation, "validation")),
        lambda: draw(test, "test"),
        targets=("label", "next"),
        declared=lambda: Declared({"tokens": ids, "next": ids, "label": LABEL}, len(spans)),
    )


def _text(random: np.random.RandomState, table: Array, size: int, order: int, shape: tuple[int, int]) -> Array:
    """Texts of that shape in one language, of the probabilities that `table` sums up along each row."""
    count, length = shape
    seen = random.randint(size, size=(count, order))
    said = np.zeros(shape, dtype=np.int64)
    row = (seen * size ** np.arange(order - 1, -1, -1)).sum(axis=1)
    for place in range(-order, length):  # the first `order` follow what was drawn evenly, and are left out
        token = (random.random_sample((count, 1)) >= table[row]).sum(axis=1).clip(max=size - 1)
        row = (row * size + token) % size**order
        if place >= 0:
            said[:, place] = token
    return said
