"""Ops that make one tensor of several: sum, product, difference, concatenation and a learned sum."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from assembler.registry import Shapes, op


@op("add", commutative=True)
def add(*xs: Tensor, shapes: Shapes) -> Tensor:
    """Sum of the inputs, of one shape or broadcast along axes of size 1; a number, [], fits any.

    Raises ValueError where the numbers of axes differ: broadcasting would then align the batch with another axis.
    """
    if len({len(s) for s in shapes if s}) > 1:  # a number fits anything
        raise ValueError(f"the inputs need equally many axes, got {' and '.join(str(list(s)) for s in shapes)}")
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    return total


@op("mul", commutative=True)
def mul(*xs: Tensor, shapes: Shapes) -> Tensor:
    """Product of the inputs, of one shape or broadcast along axes of size 1 (a gate [B, C, 1, 1] on a map).

    Raises ValueError where the numbers of axes differ: broadcasting would then align the batch with another axis.
    """
    if len({len(s) for s in shapes if s}) > 1:  # a number fits anything
        raise ValueError(f"the inputs need equally many axes, got {' and '.join(str(list(s)) for s in shapes)}")
    product = xs[0]
    for x in xs[1:]:
        product = product * x
    return product


@op("sub")
def sub(a: Tensor, b: Tensor, shapes: Shapes) -> Tensor:
    """Difference `a - b`, of one shape or broadcast along axes of size 1.

    Raises ValueError where the numbers of axes differ: broadcasting would then align the batch with another axis.
    """
    if len({len(s) for s in shapes if s}) > 1:  # a number fits anything
        raise ValueError(f"the inputs need equally many axes, got {' and '.join(str(list(s)) for s in shapes)}")
    return a - b


@op("concat")
def concat(*xs: Tensor, shapes: Shapes, dim: int = 1) -> Tensor:
    """Inputs joined along axis `dim`: channels of maps by default, -1 for the features of tokens.

    Raises ValueError where another axis differs, or where `dim` is the batch.
    """
    axes = len(shapes[0])
    axis = dim % axes if -axes <= dim < axes else 0
    if axis == 0:
        raise ValueError(f"dim is {dim}; inputs of {axes} axes are joined along one of 1 to {axes - 1}, or -1")
    if len({(*s[1:axis], None, *s[axis + 1 :]) for s in shapes}) > 1:
        found = " and ".join(str(list(s)) for s in shapes)
        raise ValueError(f"inputs joined along axis {axis} need to agree in every other axis, got {found}")
    return torch.cat(xs, dim)


@op("weighted_sum")
class WeightedSum(nn.Module):
    """Sum of the inputs, each times a learned scalar; it starts as their mean, their `sum` or the `last` one.

    Over all that earlier layers made, a sum is what residual connections add up to, and the last one a plain chain
    (DenseFormer, Pagliardini et al. 2024, arXiv 2402.02622).
    """

    def __init__(self, shapes: Shapes, start: Literal["mean", "sum", "last"] = "mean") -> None:
        super().__init__()
        if len({len(s) for s in shapes if s}) > 1:  # a number fits anything
            raise ValueError(f"the inputs need equally many axes, got {' and '.join(str(list(s)) for s in shapes)}")
        self.start = start
        self.weight = nn.Parameter(torch.empty(len(shapes)))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Give every input the same share, or all to the last."""
        self.weight.fill_({"mean": 1 / self.weight.numel(), "sum": 1.0, "last": 0.0}[self.start])
        if self.start == "last":
            self.weight[-1] = 1.0

    def forward(self, *xs: Tensor) -> Tensor:
        total = xs[0] * self.weight[0]
        for i, x in enumerate(xs[1:], 1):
            total = total + x * self.weight[i]
        return total
