"""Sequences of made-up words whose order tells their class, for language models and what is learnt from few labels."""

from __future__ import annotations

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data.source import IGNORED, LABEL, Arrays, Declared, Source, sample

_PARTS = {"train": 1, "validation": 2, "test": 3}


@dataset
def chains(
    train: int = 2000,
    validation: int = 500,
    test: int = 500,
    length: int = 24,
    words: int = 200,
    groups: int = 20,
    classes: int = 4,
    followers: int = 1,
    masked: float = 0.0,
    labelled: int | None = None,
    seed: int = 0,
) -> Source:
    """Texts `tokens` [length] of Markov chains over groups of words, and `label`, the number of the chain.

    Each of the `words` is in one of `groups` groups, and words of a group are used alike: a class is a ring of the
    groups, in which the next word's is one of the `followers` behind the last one's. So a text's class lies in the
    order of its words alone, and which word is in which group shows in all texts. Of a group's words the n-th most
    frequent is 1/n as frequent as the first.

    With `masked` there is a field `masked` [length] beside `tokens`: the same text with that share of its words drawn
    to be token 0, which stands nowhere else; words are 1 to `words`. Of the training samples the first `labelled` have
    a label, the others -100, which losses and metrics leave out.
    """
    if not 0 < followers <= groups <= words or min(classes, length) < 1 or not 0 <= masked < 1:
        raise InputError(
            "chains need followers <= groups <= words, some classes and length, and masked from 0 to less than 1",
            path="data",
            hint="for instance {words: 200, groups: 20, followers: 1, masked: 0.15}",
        )
    random = np.random.RandomState(seed)
    group = random.permutation(words) % groups
    members = np.argsort(group, kind="stable")
    starts = np.searchsorted(np.sort(group), np.arange(groups + 1))
    often = [np.cumsum(1 / np.arange(1, 1 + count)) for count in np.diff(starts)]  # words of each group
    chances = np.concatenate([upto / upto[-1] for upto in often]) + np.repeat(np.arange(groups), np.diff(starts))
    ring = np.argsort(random.random_sample((classes, groups)), axis=1)

    def draw(count: int, part: str) -> Arrays:
        random = np.random.RandomState([seed, _PARTS[part]])
        label = np.arange(count) % classes
        steps = 1 + random.randint(followers, size=(count, length))
        place = (random.randint(groups, size=(count, 1)) + steps.cumsum(axis=1)) % groups
        meant = np.take_along_axis(ring[label], place, axis=1)
        said = np.searchsorted(chances, meant + random.random_sample(meant.shape), side="right")
        tokens = 1 + members[said].astype(np.int64)
        if part == "train" and labelled is not None:
            label = np.where(np.arange(count) < labelled, label, IGNORED)
        found = {"tokens": tokens, "label": label.astype(np.int64)}
        return {**found, "masked": tokens * (random.random_sample(tokens.shape) >= masked)} if masked else found

    kinds = {name: sample(length, dtype="int64") for name in ("tokens", *(["masked"] if masked else []))}
    held = Declared({**kinds, "label": LABEL}, classes)
    return Source(
        lambda: (draw(train, "train"), draw(validation, "validation")),
        lambda: draw(test, "test"),
        declared=lambda: held,
    )
