"""Linear layers whose weight is a product of small ones; as adapters beside a layer they begin by adding nothing."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from assembler.registry import Features, op


class Factored(nn.Module, ABC):
    """A linear layer of weight scale times a product of `a` and `b`, and of a bias if it is asked for."""

    def __init__(self, features: int, out: int | None, scale: float, *, bias: bool) -> None:
        super().__init__()
        self.size = (features if out is None else out, features)
        """Of the product: [out, D]."""
        self.scale = scale
        self.bias = nn.Parameter(torch.zeros(self.size[0])) if bias else None

    @abstractmethod
    def nearest(self, weight: Tensor) -> dict[str, Tensor]:
        """The `a` and `b` whose product is nearest to a weight [out, D] in the sum of squares."""


@op("low_rank_linear")
class LowRankLinear(Factored):
    """A linear layer of weight scale B A of rank `rank` (LoRA, Hu et al. 2021): [..., D] -> [..., out].

    `a` [rank, D] begins as a linear layer's weight does, `b` [out, rank] and the `bias` [out] at zero; `out` is by
    default D. In the place of a trained linear layer it begins as the nearest of its rank (Eckart and Young, 1936).
    """

    def __init__(
        self, features: Features, out: int | None = None, rank: int = 4, scale: float = 1.0, bias: bool = False
    ) -> None:
        super().__init__(features, out, scale, bias=bias)
        self.a = nn.Parameter(torch.empty(rank, features))
        self.b = nn.Parameter(torch.zeros(self.size[0], rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        found = (x @ self.a.T) @ self.b.T * self.scale
        return found if self.bias is None else found + self.bias

    def nearest(self, weight: Tensor) -> dict[str, Tensor]:
        left, right = _thin(weight / self.scale, len(self.a))
        return {"a": right, "b": left}

    def extra_repr(self) -> str:
        return f"rank={len(self.a)}, scale={self.scale}"


@op("kronecker_linear")
class KroneckerLinear(Factored):
    """A linear layer of weight scale A (x) B (KronA, Edalati et al. 2022): [..., D] -> [..., out].

    `factor` is the shape [a1, a2] of `a`, which begins normal with deviation 1 / a1; `b` [out / a1, D / a2] and the
    `bias` [out] begin at zero, and `out` is by default D. The rank of the weight is that of `a` times that of `b`; the
    product is never written out. In the place of a trained linear layer it begins as the nearest such product (Van Loan
    and Pitsianis, 1993). Raises ValueError where the factor does not divide the widths.
    """

    def __init__(
        self,
        features: Features,
        out: int | None = None,
        factor: tuple[int, int] = (4, 8),
        scale: float = 1.0,
        bias: bool = False,
    ) -> None:
        rows, columns = factor
        out = features if out is None else out
        if min(factor) < 1 or out % rows or features % columns:
            raise ValueError(f"a factor of {list(factor)} does not divide a weight of {[out, features]}")
        super().__init__(features, out, scale, bias=bias)
        self.a = nn.Parameter(torch.empty(rows, columns))
        self.b = nn.Parameter(torch.zeros(out // rows, features // columns))
        nn.init.normal_(self.a, std=1 / rows)

    def forward(self, x: Tensor) -> Tensor:
        grid = torch.unflatten(x, -1, (self.a.shape[1], self.b.shape[1]))
        found = torch.flatten(self.a @ (grid @ self.b.T), -2) * self.scale
        return found if self.bias is None else found + self.bias

    def nearest(self, weight: Tensor) -> dict[str, Tensor]:
        (rows, columns), (high, wide) = self.a.shape, self.b.shape
        blocks = (weight / self.scale).reshape(rows, high, columns, wide).transpose(1, 2)
        left, right = _thin(blocks.reshape(rows * columns, high * wide), 1)
        return {"a": left.reshape(rows, columns), "b": right.reshape(high, wide)}

    def extra_repr(self) -> str:
        return f"factor={list(self.a.shape)}, scale={self.scale}"


def _thin(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The two factors [rows, rank] and [rank, columns] whose product is nearest, of the same size each."""
    left, values, right = torch.linalg.svd(matrix.detach().double(), full_matrices=False)
    root = values[:rank].sqrt()
    spare = max(0, rank - len(root))
    first = nn.functional.pad(left[:, :rank] * root, (0, spare))
    last = nn.functional.pad(root[:, None] * right[:rank], (0, 0, 0, spare))
    return first.to(matrix), last.to(matrix)
