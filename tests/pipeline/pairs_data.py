"""A plug-in of the tests: data of two fields, an image and a few numbers that help."""

from __future__ import annotations

import numpy as np

from assembler import dataset
from assembler.train.data.source import Arrays, Source


@dataset("pairs")
def pairs(train: int = 48, count: int = 24) -> Source:
    """Images of three patterns, and a hint that names the pattern."""
    patterns = np.random.RandomState(0).standard_normal((3, 1, 6, 6))

    def draw(size: int, part: int) -> Arrays:
        random, label = np.random.RandomState(part), np.arange(size) % 3
        image = patterns[label] + random.standard_normal((size, 1, 6, 6))
        hint = np.eye(4)[label] + random.standard_normal((size, 4))
        return {"image": image.astype(np.float32), "hint": hint.astype(np.float32), "label": label.astype(np.int64)}

    return Source(lambda: (draw(train, 1), draw(count, 2)), lambda: draw(count, 3))
