"""Data made up on the spot, for trying things out where no file is at hand."""

from __future__ import annotations

import numpy as np

from assembler.registry import dataset
from assembler.train.data.source import LABEL, Arrays, Declared, Source, sample


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

    held = Declared({"image": sample(channels, size, size), "label": LABEL}, min(classes, max(train, validation)))
    return Source(lambda: (draw(train, 1), draw(validation, 2)), lambda: draw(test, 3), declared=lambda: held)


@dataset
def gaussian_mixture(
    train: int = 2000,
    validation: int = 500,
    test: int = 500,
    components: int = 8,
    radius: float = 2.0,
    noise: float = 0.2,
    latent: int = 0,
    seed: int = 0,
) -> Source:
    """Points [2] around `components` centres on a circle, with the number of the centre as label.

    `noise` is the deviation from the centres. With `latent` there is a field `noise` [latent] too, standard normal and
    independent of the point, for what makes points of it. A generator that finds only some of the centres shows it at
    once (the ring of Goodfellow 2016 and Metz et al. 2017).
    """
    angles = 2 * np.pi * np.arange(components) / components
    centres = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def draw(count: int, part: int) -> Arrays:
        random = np.random.RandomState([seed, part])
        label = np.arange(count) % components
        point = centres[label] + noise * random.standard_normal((count, 2))
        source = {"noise": random.standard_normal((count, latent)).astype(np.float32)} if latent else {}
        return {**source, "point": point.astype(np.float32), "label": label.astype(np.int64)}

    more = {"noise": sample(latent)} if latent else {}
    held = Declared({**more, "point": sample(2), "label": LABEL}, min(components, max(train, validation)))
    return Source(lambda: (draw(train, 1), draw(validation, 2)), lambda: draw(test, 3), declared=lambda: held)
