"""Linear layers whose weight is a product of small ones; as adapters beside a layer they begin by adding nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from assembler.registry import Features, op


@op("low_rank_linear")
class LowRankLinear(nn.Module):
    """A linear layer of weight scale B A of rank `rank`, no bias (LoRA, Hu et al. 2021): [..., D] -> [..., out].

    `a` [rank, D] begins as a linear layer's weight does, `b` [out, rank] at zero; `out` is by default D.
    """

    def __init__(self, features: Features, out: int | None = None, rank: int = 4, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.a = nn.Parameter(torch.empty(rank, features))
        self.b = nn.Parameter(torch.zeros(features if out is None else out, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.a.T) @ self.b.T * self.scale

    def extra_repr(self) -> str:
        return f"rank={len(self.a)}, scale={self.scale}"


@op("kronecker_linear")
class KroneckerLinear(nn.Module):
    """A linear layer of weight scale A (x) B, no bias (KronA, Edalati et al. 2022): [..., D] -> [..., out].

    `factor` is the shape [a1, a2] of `a`, which begins normal with deviation 1 / a1; `b` [out / a1, D / a2] begins at
    zero, and `out` is by default D. The rank of the weight is that of `a` times that of `b`; the product is never
    written out. Raises ValueError where the factor does not divide the widths.
    """

    def __init__(
        self, features: Features, out: int | None = None, factor: tuple[int, int] = (4, 8), scale: float = 1.0
    ) -> None:
        super().__init__()
        rows, columns = factor
        out = features if out is None else out
        if min(factor) < 1 or out % rows or features % columns:
            raise ValueError(f"a factor of {list(factor)} does not divide a weight of {[out, features]}")
        self.scale = scale
        self.a = nn.Parameter(torch.empty(rows, columns))
        self.b = nn.Parameter(torch.zeros(out // rows, features // columns))
        nn.init.normal_(self.a, std=1 / rows)

    def forward(self, x: Tensor) -> Tensor:
        grid = torch.unflatten(x, -1, (self.a.shape[1], self.b.shape[1]))
        return torch.flatten(self.a @ (grid @ self.b.T), -2) * self.scale

    def extra_repr(self) -> str:
        return f"factor={list(self.a.shape)}, scale={self.scale}"
