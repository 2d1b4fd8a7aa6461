"""Batches in an order that the seed and the epoch alone decide, shifted and flipped alike on every machine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from assembler.train.augment import NONE, Augment
from assembler.train.data.core import Split

Batch = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Batches:
    """A split cut into batches of `size`, shuffled anew every epoch.

    The last batch of an epoch may be small; it is left out only if it is a single sample, which batch normalisation
    cannot use. Order and augmentation depend on (seed, epoch, sample), not on the batch size or the device.
    """

    split: Split
    size: int
    seed: int = 0
    augment: Augment = NONE
    device: torch.device | str | None = None

    def __len__(self) -> int:
        """Batches in an epoch."""
        count = len(self.split)
        return max(1, math.ceil(count / self.size) - (self.size > 1 and count % self.size == 1))

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch, counted from 0."""
        count, random = len(self.split), self._generator(number)
        order = torch.randperm(count, generator=random)
        moves = torch.randint(-self.augment.shift, self.augment.shift + 1, (count, 2), generator=random)
        flips = torch.rand(count, generator=random) < 0.5
        grounds = self._grounds()
        for i in range(len(self)):
            index = order[i * self.size : (i + 1) * self.size]
            batch = {name: field[index.to(field.device)] for name, field in self.split.fields.items()}
            for name, ground in grounds.items():
                batch[name] = _changed(batch[name], self.augment, moves[index], flips[index], ground)
            yield {name: tensor if self.device is None else tensor.to(self.device) for name, tensor in batch.items()}

    def take(self, steps: int) -> Iterator[Batch]:
        """The first `steps` batches of epoch after epoch."""
        for step in range(steps):
            if step % len(self) == 0:
                batches = self.epoch(step // len(self))
            yield next(batches)

    def _generator(self, epoch: int) -> torch.Generator:
        digest = hashlib.blake2b(f"{self.seed}/{epoch}".encode(), digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)

    def _grounds(self) -> dict[str, Tensor]:
        """The smallest value of every channel of every field that augmentation changes."""
        if self.augment == NONE:
            return {}
        fields = {name: self.split.fields[name] for name in self.split.inputs}
        return {name: field.amin(dim=(0, 2, 3)) for name, field in fields.items() if field.ndim == 4}


def _changed(images: Tensor, augment: Augment, moves: Tensor, flips: Tensor, ground: Tensor) -> Tensor:
    if augment.flip:
        images = torch.where(flips.to(images.device)[:, None, None, None], images.flip(-1), images)
    return _shifted(images, moves.to(images.device), ground) if augment.shift else images


def _shifted(images: Tensor, moves: Tensor, ground: Tensor) -> Tensor:
    """Images [N, C, H, W] moved by `moves` [N, 2] (down, right), uncovered pixels set to `ground` [C]."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) - moves[:, :1]
    columns = torch.arange(width, device=images.device) - moves[:, 1:]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[
        sample, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]
    ]
    return torch.where(inside[:, None], moved.permute(0, 3, 1, 2), ground[:, None, None])
