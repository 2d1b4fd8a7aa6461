"""Arithmetic, element by element, and products of matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from assembler.registry import Shapes, op


@op("div")
def div(a: Tensor, b: Tensor, shapes: Shapes) -> Tensor:
    """Quotient `a / b`, of one shape or broadcast along axes of size 1.

    Raises ValueError where the numbers of axes differ: broadcasting would then align the batch with another axis.
    """
    if len({len(s) for s in shapes if s}) > 1:  # a number fits anything
        raise ValueError(f"the inputs need equally many axes, got {' and '.join(str(list(s)) for s in shapes)}")
    return a / b


@op("scale")
def scale(x: Tensor, factor: float = 1.0, offset: float = 0.0) -> Tensor:
    """The input times `factor` plus `offset`, both constants; any shape."""
    y = x * factor if factor != 1 else x
    return y + offset if offset != 0 else y


@op("power")
def power(x: Tensor, exponent: float = 2.0) -> Tensor:
    """Each element to the power of `exponent`; any shape."""
    return x**exponent


@op("exp")
def exp(x: Tensor) -> Tensor:
    """Exponential of each element; any shape."""
    return x.exp()


@op("log")
def log(x: Tensor) -> Tensor:
    """Natural logarithm of each element; any shape."""
    return x.log()


@op("sqrt")
def sqrt(x: Tensor) -> Tensor:
    """Square root of each element; any shape."""
    return x.sqrt()


@op("abs")
def abs_(x: Tensor) -> Tensor:
    """Size of each element without its sign; any shape."""
    return x.abs()


@op("sin")
def sin(x: Tensor) -> Tensor:
    """Sine of each element, in radians; any shape."""
    return x.sin()


@op("cos")
def cos(x: Tensor) -> Tensor:
    """Cosine of each element, in radians; any shape."""
    return x.cos()


@op("clamp")
def clamp(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Each element, but at least `low` and at most `high`; any shape."""
    return x.clamp(low, high)


@op("matmul")
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Product of matrices in the last two axes: [..., N, K] and [..., K, M] -> [..., N, M]."""
    return a @ b


@op("einsum")
def einsum(*xs: Tensor, equation: str) -> Tensor:
    """Sum of products as Einstein's notation says, a letter an axis: `bid,bjd->bij` is every row times every row."""
    return torch.einsum(equation, *xs)
