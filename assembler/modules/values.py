"""Values that no input holds: learned tensors, constants and positions. An input tells batch size and device only."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from assembler.registry import Shape, op


@op("parameter")
class Parameter(nn.Module):
    """A learned tensor of this `shape`, the same for every sample: any [B, ...] -> [B, *shape].

    With `batched: false` it is of `shape` alone, for instance a codebook [K, D] for `matmul` or, beginning with a 1,
    what is broadcast over samples. `std` is the spread of the normal distributions (`trunc_normal` is cut at two
    units) and half the width of the uniform one.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        init: Literal["zeros", "ones", "normal", "trunc_normal", "uniform"] = "trunc_normal",
        std: float = 0.02,
        batched: bool = True,
    ) -> None:
        super().__init__()
        self.init, self.std, self.batched = init, std, batched
        self.weight = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight anew."""
        spread = {"normal": (0.0, self.std), "trunc_normal": (0.0, self.std), "uniform": (-self.std, self.std)}
        getattr(nn.init, f"{self.init}_")(self.weight, *spread.get(self.init, ()))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight.expand(x.shape[0], *self.weight.shape) if self.batched else self.weight

    def extra_repr(self) -> str:
        return f"{list(self.weight.shape)}, init={self.init!r}, batched={self.batched}"


@op("constant")
class Constant(nn.Module):
    """Fixed numbers in this `shape`, by default a row: any input -> [1, *shape], to be broadcast over samples.

    One number, `values: [0]`, fills the whole shape. Without a `dtype` they are of the model's own, as its weights are.
    Raises ValueError where the numbers do not fill it.
    """

    like: Tensor

    def __init__(
        self,
        values: tuple[float, ...],
        shape: tuple[int, ...] | None = None,
        dtype: Literal["float32", "int64", "bool"] | None = None,
    ) -> None:
        super().__init__()
        self.values, self.dtype = tuple(values), dtype
        self.shape = (len(values),) if shape is None else tuple(shape)
        if len(values) not in (1, math.prod(self.shape)):
            raise ValueError(f"{len(values)} values do not fill the shape {list(self.shape)}")
        self.register_buffer("like", torch.empty(0), persistent=False)  # `.to(dtype)` reaches it

    def forward(self, x: Tensor) -> Tensor:
        made = x.new_tensor(self.values, dtype=getattr(torch, self.dtype) if self.dtype else self.like.dtype)
        return made.expand(1, *self.shape) if len(self.values) == 1 else made.reshape(1, *self.shape)

    def extra_repr(self) -> str:
        return f"{list(self.values)}, shape={list(self.shape)}, dtype={self.dtype}"


@op("positions")
def positions(x: Tensor, shape: Shape, dim: int = 1, start: int = 0) -> Tensor:
    """Places along an axis of the input: `start`, `start` + 1, ..., int64 [1, N] for its N elements."""
    if not -len(shape) <= dim < len(shape):
        raise ValueError(f"there is no axis {dim} in {list(shape)}")
    return x.new_ones((1, x.shape[dim]), dtype=torch.int64).cumsum(1) + (start - 1)
