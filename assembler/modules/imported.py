"""What traced models hold beside their layers: tensors in exactly their own shape, and the sizes that a trace is of."""

from __future__ import annotations

import math
from typing import Literal

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

    One number fills the shape, or begins the ramp of numbers that are `step` apart. Raises ValueError where the
    numbers do not fill the shape.
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


@op("sized")
class Sized(nn.Module):
    """The input as it is, if its axes have the sizes that a model was traced at: any shape -> the same.

    -1 in `shape` stands for an axis of any size, up to that of `most` where it says one; `name` is the input's, for the
    error. Raises ValueError for any other size, at which the trace computes something else than the model did.
    """

    def __init__(self, shape: tuple[int, ...], name: str = "the input", most: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.shape, self.name, self.most = tuple(shape), name, tuple(most) or (-1,) * len(shape)

    def forward(self, x: Tensor) -> Tensor:
        for axis, (size, fixed, most) in enumerate(zip(x.shape, self.shape, self.most, strict=True)):
            if fixed not in (-1, size):
                how = f"import the model with --free {self.name}.{axis}, or at that size"
                raise ValueError(f"axis {axis} of {self.name} was traced at {fixed}, and is {size}: {how}")
            if size > most >= 0:
                raise ValueError(f"axis {axis} of {self.name} may be {most} at most, and is {size}")
        return x

    def extra_repr(self) -> str:
        return f"{self.name}: {list(self.shape)}"
