"""What traced models hold beside their layers: tensors in exactly their own shape, and the sizes that a trace is of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from assembler.registry import op


@op("stored", bare=True)
class Stored(nn.Module):
    """A tensor of this `shape` that lies in the weights under the step's own name: any input -> `shape`.

    It is a parameter, or with `learned: false` a buffer, which is not trained. It starts as zeros.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        learned: bool = True,
        dtype: Literal[
            "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"
        ] = "float32",
    ) -> None:
        super().__init__()
        made = torch.zeros(shape, dtype=getattr(torch, dtype))
        if learned:
            self.weight = nn.Parameter(made)
        else:
            self.register_buffer("weight", made)

    def reset_parameters(self) -> None:
        """Set it to zeros."""
        nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight

    def extra_repr(self) -> str:
        return f"{list(self.weight.shape)}"


@op("literal")
class Written(nn.Module):
    """Fixed numbers in this very `shape`, row by row, said by the recipe and not the weights: any input -> `shape`.

    A list of one number fills the shape, or begins the ramp of numbers that are `step` apart. Raises ValueError where
    the numbers do not fill the shape.
    """

    numbers: Tensor

    def __init__(
        self,
        values: tuple[float, ...],
        shape: tuple[int, ...] = (),
        dtype: Literal[
            "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"
        ] = "float32",
        step: float | None = None,
    ) -> None:
        super().__init__()
        if len(values) not in (1, math.prod(shape)):
            raise ValueError(f"{len(values)} values do not fill the shape {list(shape)}")
        self.values, self.step = tuple(values), step
        self.register_buffer("numbers", torch.empty(shape, dtype=getattr(torch, dtype)), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Write the numbers, for instance after the module has left the meta device."""
        made = torch.tensor(self.values, dtype=torch.float64 if self.numbers.is_floating_point() else torch.int64)
        if self.step is not None:
            made = made + torch.arange(self.numbers.numel()) * self.step
        with torch.no_grad():
            self.numbers.copy_(made.expand(self.numbers.numel()).reshape(self.numbers.shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.numbers

    def extra_repr(self) -> str:
        return f"{list(self.numbers.shape)}"


class Limit(NamedTuple):
    """What an axis may not be: `sign` ("!=" or ">") a size; the error says `said` and the size that it is."""

    axis: int
    sign: str
    size: int
    said: str


@op("sized", checks=True)
class Sized(nn.Module):
    """The input as it is, if its axes have the sizes that a model was traced at: any shape -> the same.

    -1 in `shape` stands for an axis of any size, up to that of `most` where it says one; `name` is the input's, for the
    error. Raises ValueError for any other size, at which the trace computes something else than the model did.
    """

    def __init__(self, shape: tuple[int, ...], name: str = "the input", most: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.shape, self.name = tuple(shape), name
        self.limits = tuple(_limits(self.shape, name, tuple(most)))

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != len(self.shape):
            raise ValueError(f"{self.name} has {len(self.shape)} axes, not {x.dim()}")
        for axis, sign, limit, said in self.limits:
            size = x.shape[axis]
            if sign == "!=" and size != limit:
                how = f"import the model with --free {self.name}.{axis}, or at that size"
                raise ValueError(f"{said} {size}: {how}")
            if size > limit:
                raise ValueError(f"{said} {size}")
        return x

    def extra_repr(self) -> str:
        return f"{self.name}: {list(self.shape)}"


def _limits(shape: tuple[int, ...], name: str, most: tuple[int, ...]) -> Iterator[Limit]:
    for axis, size in enumerate(shape):
        if size != -1:
            yield Limit(axis, "!=", size, f"axis {axis} of {name} was traced at {size}, and is")
    for axis, size in enumerate(most):
        if size != -1:
            yield Limit(axis, ">", size, f"axis {axis} of {name} may be {size} at most, and is")
