"""Fashion-MNIST from its four official files."""

from __future__ import annotations

from dataclasses import replace

from assembler.registry import dataset
from assembler.train.data.idx import find, pairs
from assembler.train.data.source import LABEL, Declared, Source, sample

_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_ORIGIN = "they are in data/fashion of github.com/zalandoresearch/fashion-mnist (31 MB, MIT)"


@dataset
def fashion_mnist(
    path: str | None = None, train: int | None = None, validation: int = 5000, split_seed: int = 0
) -> Source:
    """70,000 pictures of clothing, image [1, 28, 28] and label 0 to 9 (Xiao, Rasul, Vollgraf 2017, MIT).

    The files lie in `path`, or in `ASSEMBLER_DATA`/fashion_mnist. Of the 60,000 training samples `validation` are set
    aside, then `train` caps the rest; the official 10,000 test samples are the test split.
    """
    files = find(path, "fashion_mnist", _NAMES, name="fashion_mnist", origin=_ORIGIN)
    held = Declared({"image": sample(1, 28, 28), "label": LABEL}, 10)
    return replace(pairs(files, train, validation, split_seed), declared=lambda: held, licence="MIT")
