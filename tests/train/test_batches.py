"""Batches: every sample once an epoch, in an order that seed and epoch decide."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import RecipeError
from assembler.train.data import Augment, Batches, Split


def numbered(count: int, side: int = 4) -> Split:
    image = torch.arange(count * side * side, dtype=torch.float32).reshape(count, 1, side, side)
    return Split({"image": image, "label": torch.arange(count)})


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 3), st.integers(0, 2))
def test_an_epoch_shows_every_sample_once(count, size, seed, epoch):
    batches = list(Batches(numbered(count), size, seed).epoch(epoch))
    assert len(batches) == len(Batches(numbered(count), size, seed))
    seen = torch.cat([b["label"] for b in batches]).tolist()
    assert len(set(seen)) == len(seen)
    left_out = count - len(seen)
    assert left_out == (1 if size > 1 and count > 1 and count % size == 1 else 0)


def test_order_depends_on_seed_and_epoch_alone():
    def order(size: int, seed: int, epoch: int) -> list[int]:
        return torch.cat([b["label"] for b in Batches(numbered(30), size, seed).epoch(epoch)]).tolist()

    assert order(5, 1, 0) == order(10, 1, 0)
    assert order(5, 1, 0) != order(5, 1, 1) and order(5, 1, 0) != order(5, 2, 0)


def test_take_goes_on_into_the_next_epoch():
    batches = Batches(numbered(6), 3)
    taken = [b["label"].tolist() for b in batches.take(3)]
    assert taken == [*(b["label"].tolist() for b in batches.epoch(0)), next(batches.epoch(1))["label"].tolist()]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.booleans(), st.integers(0, 5))
def test_augmented_images_are_moved_and_mirrored_copies(shift, flip, seed):
    split = numbered(8)
    for batch in Batches(split, 8, seed, Augment(shift, flip)).epoch(0):
        for image, label in zip(batch["image"], batch["label"], strict=True):
            assert any(torch.equal(image[0], c) for c in candidates(split.fields["image"][label, 0], shift, flip))


def candidates(image: torch.Tensor, shift: int, flip: bool) -> list[torch.Tensor]:
    found = []
    for source in (image, image.flip(-1)) if flip else (image,):
        for down in range(-shift, shift + 1):
            for right in range(-shift, shift + 1):
                padded = torch.nn.functional.pad(source, (shift,) * 4)  # the field's smallest value is 0
                found.append(padded[shift - down :, shift - right :][: len(image), : len(image)])
    return found


def test_augmentation_does_not_depend_on_the_batch_size():
    def images(size: int) -> torch.Tensor:
        batches = list(Batches(numbered(12), size, 3, Augment(1, True)).epoch(2))
        order = torch.cat([b["label"] for b in batches]).argsort()
        return torch.cat([b["image"] for b in batches])[order]

    assert torch.equal(images(3), images(12))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"shfit": 1}, "augment: error: unknown augmentation 'shfit'\n    hint: did you mean 'shift'?"),
        ({"shift": True}, "augment: error: 'shift' must be a number of pixels, not True"),
        ({"shift": -1}, "augment: error: 'shift' must be a number of pixels, not -1"),
        ({"flip": 1}, "augment: error: 'flip' must be true or false, not 1"),
    ],
)
def test_wrong_augmentation_is_named(spec, expected):
    with pytest.raises(RecipeError) as error:
        Augment.from_spec(spec)
    assert str(error.value) == expected
