"""The digits that ship with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from assembler.registry import dataset
from assembler.train.data.source import LABEL, Arrays, Declared, Source, images, sample
from assembler.train.data.split import carve, stratified, take

_FILE = Path(__file__).with_name("digits.npz")
_TEST, _VALIDATION = 397, 300


@dataset
def digits(split_seed: int = 0) -> Source:
    """1,797 handwritten digits, image [1, 8, 8] and label 0 to 9 (Alpaydin and Kaynak 1998, CC BY 4.0).

    1,100 for training, 300 for validation, 397 for testing, every class in its share. `split_seed` moves samples
    between training and validation; the test samples are always the same. Writers are not kept apart.
    """

    def development() -> tuple[Arrays, Arrays]:
        fields = _read()
        rest, _ = stratified(fields["label"], _TEST, seed=0)
        return carve(take(fields, rest), "label", _VALIDATION, None, split_seed)

    def test() -> Arrays:
        fields = _read()
        return take(fields, stratified(fields["label"], _TEST, seed=0)[1])

    held = Declared({"image": sample(1, 8, 8), "label": LABEL}, 10)
    return Source(development, test, files=(_FILE,), declared=lambda: held, licence="CC BY 4.0")


def _read() -> Arrays:
    with np.load(_FILE, allow_pickle=False) as file:
        return {"image": images(file["images"]), "label": file["labels"].astype(np.int64)}
