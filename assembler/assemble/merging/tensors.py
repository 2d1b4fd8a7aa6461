"""What a merge method sees: one tensor of every model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assembler.errors import InputError


@dataclass(frozen=True)
class Tensors:
    """The same parameter of N models, with a weight each, and of the model that they were all tuned from, if given."""

    models: tuple[Tensor, ...]
    weights: tuple[float, ...]
    generator: torch.Generator
    base: Tensor | None = None

    @property
    def deltas(self) -> Tensor:
        """What each model has learnt, its difference from the base [N, ...]: its task vector."""
        assert self.base is not None  # which methods that read it say with `base=True`
        return torch.stack(self.models) - self.base

    @property
    def scale(self) -> Tensor:
        """The weights [N, 1, ...], to be multiplied with the stacked tensors."""
        return self.models[0].new_tensor(self.weights).reshape(-1, *[1] * self.models[0].ndim)

    def moved(self, deltas: Tensor, by: float) -> Tensor:
        """The base moved along the weighted sum of task vectors."""
        assert self.base is not None
        return self.base + by * (self.scale * deltas).sum(0)


def fraction(name: str, value: float) -> float:
    """A number above 0 and at most 1. Raises InputError for another."""
    if not 0 < value <= 1:
        raise InputError(f"'{name}' is a share, above 0 and at most 1, not {value:g}")
    return value


def agreed(deltas: Tensor, scale: Tensor, *, normalize: bool) -> Tensor:
    """Task vectors [N, ...] to one, from those entries that have the sign of the weighted sum (TIES, steps 2 and 3).

    With `normalize` it is their weighted mean, else their weighted sum.
    """
    weighted = scale * deltas
    agree = torch.sign(deltas) == torch.sign(weighted.sum(0))
    found = (weighted * agree).sum(0)
    if not normalize:
        return found
    whole = (scale * agree).sum(0)
    return torch.where(whole.abs() > 1e-8, found / whole.where(whole.abs() > 1e-8, torch.ones_like(whole)), 0)
