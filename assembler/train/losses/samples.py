"""Losses between two sets of samples, which need not correspond one by one."""

from __future__ import annotations

import torch
from torch import Tensor

from assembler.registry import loss


@loss
def energy_distance(value: Tensor, target: Tensor) -> Tensor:
    """Energy distance of the distributions that value [N, ...] and target [M, ...] are samples of, each flattened.

    2 E|X - Y| - E|X - X'| - E|Y - Y'|, which is 0 for equal distributions alone (Szekely and Rizzo 2013, eq. 5).
    Pairs of a sample with itself are left out, so that the estimate has no bias and may fall below 0.
    """
    x, y = value.flatten(1), target.flatten(1)
    between = torch.cdist(x, y).mean()
    return 2 * between - _within(x) - _within(y)


def _within(x: Tensor) -> Tensor:
    """Mean distance of two different samples."""
    count = len(x)
    # The distance of a point to itself has no gradient, so those pairs are not formed.
    index = torch.triu_indices(count, count, 1, device=x.device)
    return (x[index[0]] - x[index[1]]).norm(dim=1).mean() if count > 1 else x.new_zeros(())
