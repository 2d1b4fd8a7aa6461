"""Data made up on the spot, for trying things out where no file is at hand."""

from __future__ import annotations

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data.source import LABEL, Array, Arrays, Declared, Source, sample


@dataset
def blobs(
    train: int = 256,
    validation: int = 64,
    test: int = 64,
    classes: int = 3,
    channels: int = 1,
    size: int = 8,
    noise: float = 1.0,
    gain: float = 1.0,
    run: int = 1,
    seed: int = 0,
) -> Source:
    """Images [channels, size, size] of `classes` fixed random patterns under Gaussian noise.

    `noise` is the ratio of the noise's deviation to the patterns'. Every class is equally frequent. In each image a
    `run` of neighbouring channels, at another place in every image, is `gain` times as strong, noise and all. Raises
    InputError for a run of more channels than there are.
    """
    if not 0 < run <= channels:
        raise InputError(f"a run of {run} channels of {channels}", path="data.run", hint=f"from 1 to {channels}")
    patterns = np.random.RandomState(seed).standard_normal((classes, channels, size, size))

    def draw(count: int, part: int) -> Arrays:
        random = np.random.RandomState([seed, part])
        label = np.arange(count) % classes
        image = patterns[label] + noise * random.standard_normal((count, channels, size, size))
        behind = np.arange(channels) - random.randint(channels - run + 1, size=(count, 1))
        image *= np.where((behind >= 0) & (behind < run), gain, 1.0)[:, :, None, None]
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
    shares: list[float] | None = None,
    standardise: bool = True,
    seed: int = 0,
) -> Source:
    """Points [2] around `components` centres on a circle, with the number of the centre as label.

    `noise` is the deviation from the centres, the first of which is [radius, 0]; `shares` are how many of the points
    each gets, relative to one another, by default equally many. With `latent` there is a field `noise` [latent] too,
    standard normal and independent of the point, for what makes points of it. Without `standardise` points stay where
    they are, for what knows their density. A generator that finds only some of the centres shows it at once (the ring
    of Goodfellow 2016 and Metz et al. 2017). Raises InputError where the shares are not as many as the centres.
    """
    angles = 2 * np.pi * np.arange(components) / components
    centres = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    weights = np.ones(components) if shares is None else np.array(shares, float)
    if len(weights) != components or not (weights > 0).all():
        raise InputError(f"{components} components need as many shares above 0, not {shares}", path="data.shares")

    def draw(count: int, part: int) -> Arrays:
        random = np.random.RandomState([seed, part])
        label = np.arange(count) % components if shares is None else _shared_out(count, weights)
        point = centres[label] + noise * random.standard_normal((count, 2))
        source = {"noise": random.standard_normal((count, latent)).astype(np.float32)} if latent else {}
        return {**source, "point": point.astype(np.float32), "label": label.astype(np.int64)}

    more = {"noise": sample(latent)} if latent else {}
    held = Declared({**more, "point": sample(2), "label": LABEL}, min(components, max(train, validation)))
    fed = (*more, "point") if standardise else ()
    return Source(
        lambda: (draw(train, 1), draw(validation, 2)), lambda: draw(test, 3), declared=lambda: held, standardised=fed
    )


def _shared_out(count: int, weights: Array) -> Array:
    """The number of a centre for each of `count` points, in proportion to the weights, the centres mixed evenly."""
    places = (np.arange(count) + 0.5) * 0.6180339887498949 % 1.0
    return np.searchsorted(np.cumsum(weights) / weights.sum(), places, side="right").clip(max=len(weights) - 1)
