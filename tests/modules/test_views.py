"""Views of images: what a flip and a crop keep, and that evaluation sees the image itself."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from assembler.testing import OpContract

MAPS = ((3, 4, 6, 6),)
NAMES = ["random_flip", "random_crop", "random_resized_crop"]


class TestRandomFlip(OpContract):
    name = "random_flip"
    args: ClassVar = {"dim": 1}
    shapes = ((3, 5, 4),)


class TestRandomCrop(OpContract):
    name = "random_crop"
    args: ClassVar = {"padding": 1}
    shapes = MAPS


class TestRandomResizedCrop(OpContract):
    name = "random_resized_crop"
    args: ClassVar = {"scale": (0.5, 1.0)}
    shapes = MAPS


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_sees_the_image_and_training_a_view_of_its_own_each_time(built, name):
    x = torch.randn(8, 3, 6, 6)
    made = built(name, x)
    assert torch.equal(made.eval()(x), x)
    made.train()
    assert not torch.equal(made(x), made(x))


def test_a_flip_mirrors_as_many_samples_as_p_says(built):
    x = torch.arange(4.0).expand(2000, 4)
    found = built("random_flip", x, p=0.25).train()(x)
    mirrored = (found == x.flip(1)).all(1)
    assert bool((mirrored | (found == x).all(1)).all())
    assert mirrored.float().mean().item() == pytest.approx(0.25, abs=0.04)


def test_a_crop_shifts_by_up_to_the_padding_each_way(built):
    x = torch.zeros(2000, 1, 7, 7)
    x[:, 0, 3, 3] = 1
    found = built("random_crop", x, padding=2).train()(x)
    places = found.flatten(1).argmax(1)
    assert found.sum().item() == 2000
    assert {(p // 7 - 3, p % 7 - 3) for p in places.tolist()} == {(i, j) for i in range(-2, 3) for j in range(-2, 3)}


def test_a_resized_crop_keeps_straight_lines_and_stays_inside(built):
    x = torch.arange(16.0).expand(400, 1, 16, 16)
    found = built("random_resized_crop", x, scale=(0.25, 0.25), ratio=(1.0, 1.0)).train()(x)
    assert found.min() >= 0 and found.max() <= 15
    slopes = found.diff(dim=3)[..., 1:-1]  # half as wide a part, at its whole size
    torch.testing.assert_close(slopes[found[..., 1:-2] > 0.5], torch.full_like(slopes, 0.5)[found[..., 1:-2] > 0.5])
    whole = built("random_resized_crop", x, scale=(1.0, 1.0), ratio=(1.0, 1.0)).train()(x)
    torch.testing.assert_close(whole, x)
