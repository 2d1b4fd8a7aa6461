"""Data made up on the spot, for trying things out where no file is at hand."""

from __future__ import annotations

import numpy as np

from assembler.registry import dataset
from assembler.train.data.source import Arrays, Source


@dataset
def blobs(
    train: int = 256,
    validation: int = 64,
    test: int = 64,
    classes: int = 3,
    channels: int = 1,
    size: int = 8,
    noise: float = 1.0,
    seed: int = 0,
) -> Source:
    """Images [channels, size, size] of `classes` fixed random patterns under Gaussian noise.

    `noise` is the ratio of the noise's deviation to the patterns'. Every class is equally frequent.
    """
    patterns = np.random.RandomState(seed).standard_normal((classes, channels, size, size))

    def draw(count: int, part: int) -> Arrays:
        random = np.random.RandomState([seed, part])
        label = np.arange(count) % classes
        image = patterns[label] + noise * random.standard_normal((count, channels, size, size))
        return {"image": image.astype(np.float32), "label": label.astype(np.int64)}

    return Source(lambda: (draw(train, 1), draw(validation, 2)), lambda: draw(test, 3))
