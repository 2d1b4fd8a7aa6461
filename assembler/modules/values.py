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
def constant(
    x: Tensor,
    values: tuple[float, ...],
    shape: tuple[int, ...] | None = None,
    dtype: Literal["float32", "int64", "bool"] = "float32",
) -> Tensor:
    """Fixed numbers in this `shape`, by default a row: any input -> [1, *shape], to be broadcast over samples.

    One number fills the whole shape. Raises ValueError where the numbers do not fill it.
    """
    wanted = (len(values),) if shape is None else shape
    if len(values) not in (1, math.prod(wanted)):
        raise ValueError(f"{len(values)} values do not fill the shape {list(wanted)}")
    made = x.new_tensor(values, dtype=getattr(torch, dtype))
    return made.expand(1, *wanted) if len(values) == 1 else made.reshape(1, *wanted)


@op("positions")
def positions(x: Tensor, shape: Shape, dim: int = 1, start: int = 0) -> Tensor:
    """Places along an axis of the input: `start`, `start` + 1, ..., int64 [1, N] for its N elements."""
    if not -len(shape) <= dim < len(shape):
        raise ValueError(f"there is no axis {dim} in {list(shape)}")
    return x.new_ones((1, x.shape[dim]), dtype=torch.int64).cumsum(1) + (start - 1)
