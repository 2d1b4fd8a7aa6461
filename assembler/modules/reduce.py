"""Sums, means and extremes over axes. `dim` is one axis, a list of them or null for all; axis 0 is the batch.

The axes go, or stay with size 1 where `keepdim` is true.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from assembler.registry import op


@op("mean")
def mean(x: Tensor, dim: int | tuple[int, ...] | None = -1, keepdim: bool = False) -> Tensor:
    """Mean over axes: [B, N, D] -> [B, N] for the last one."""
    return x.mean(dim, keepdim=keepdim)


@op("sum")
def sum_(x: Tensor, dim: int | tuple[int, ...] | None = -1, keepdim: bool = False) -> Tensor:
    """Sum over axes: [B, N, D] -> [B, N] for the last one."""
    return x.sum(dim, keepdim=keepdim)


@op("max")
def max_(x: Tensor, dim: int | tuple[int, ...] | None = -1, keepdim: bool = False) -> Tensor:
    """Largest element over axes: [B, N, D] -> [B, N] for the last one; `topk` and `argmax` tell where it stands."""
    return x.amax(() if dim is None else dim, keepdim=keepdim)


@op("min")
def min_(x: Tensor, dim: int | tuple[int, ...] | None = -1, keepdim: bool = False) -> Tensor:
    """Smallest element over axes: [B, N, D] -> [B, N] for the last one."""
    return x.amin(() if dim is None else dim, keepdim=keepdim)


@op("var")
def var(x: Tensor, dim: int | tuple[int, ...] | None = -1, keepdim: bool = False, correction: int = 1) -> Tensor:
    """Variance over axes, the divisor less `correction` (1 is Bessel's): [B, N, D] -> [B, N] for the last one."""
    return x.var(dim, correction=correction, keepdim=keepdim)


@op("logsumexp")
def logsumexp(x: Tensor, dim: int | tuple[int, ...] = -1, keepdim: bool = False) -> Tensor:
    """Logarithm of the sum of exponentials over axes, safe for large numbers: [B, N, D] -> [B, N] for the last one."""
    return torch.logsumexp(x, dim, keepdim)


@op("normalize")
def normalize(x: Tensor, dim: int = -1, p: float = 2.0, eps: float = 1e-12) -> Tensor:
    """The input over its length along an axis, the `p`-norm, at least `eps`. The shape stays."""
    return F.normalize(x, p, dim, eps)


@op("cumsum")
def cumsum(x: Tensor, dim: int = 1) -> Tensor:
    """Sums of the elements of an axis up to and with each. The shape stays."""
    return x.cumsum(dim)
