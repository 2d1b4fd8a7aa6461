"""Parts of tensors, put together and laid out anew. Every axis counts, the batch as axis 0; -1 is the last one."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Shape, Shapes, op


@op("slice")
def slice_(x: Tensor, dim: int = 1, start: int = 0, stop: int | None = None, step: int = 1) -> Tensor:
    """Elements `start` to `stop` (left out) of one axis, every `step`-th: [B, N, D] -> [B, M, D] for dim 1.

    Negative places count from the end.
    """
    axes = (slice(None),) * dim if dim >= 0 else (Ellipsis,)
    rest = () if dim >= 0 else (slice(None),) * (-1 - dim)
    return x[(*axes, slice(start, stop, step), *rest)]


@op("select")
def select(x: Tensor, index: int, dim: int = 1) -> Tensor:
    """One element of an axis, which goes: [B, N, D] -> [B, D] for dim 1; -1 is the last one."""
    return x.select(dim, index)


@op("chunk", outputs="numbered")
def chunk(x: Tensor, shape: Shape, chunks: int = 2, dim: int = -1) -> tuple[Tensor, ...]:
    """An axis cut into `chunks` equal parts: [B, N, D] -> `chunks` times [B, N, D / chunks], the outputs 0, 1, ....

    Raises ValueError where it does not split evenly.
    """
    if chunks < 1 or shape[dim] % chunks:
        raise ValueError(f"an axis of {shape[dim]} elements does not split into {chunks} equal parts")
    parts = torch.unflatten(x, dim % len(shape), (chunks, -1))
    return tuple(parts.select(dim % len(shape), k) for k in range(chunks))


@op("split", outputs="numbered")
def split(x: Tensor, sizes: tuple[int, ...], shape: Shape, dim: int = -1) -> tuple[Tensor, ...]:
    """An axis cut into parts of these sizes: [B, N, D] -> [B, N, size] for each, the outputs 0, 1, ....

    Raises ValueError where the sizes do not add up to the axis.
    """
    if sum(sizes) != shape[dim] or min(sizes) < 1:
        raise ValueError(f"an axis of {shape[dim]} elements does not split into parts of {list(sizes)}")
    parts = x.split_with_sizes(sizes, dim)
    return tuple(parts[k] for k in range(len(sizes)))


@op("stack")
def stack(*xs: Tensor, shapes: Shapes, dim: int = 1) -> Tensor:
    """Inputs of one shape side by side on a new axis `dim`: n times [B, D] -> [B, n, D].

    Raises ValueError where the shapes differ.
    """
    if len({s[1:] for s in shapes}) > 1:
        raise ValueError(f"stacked inputs need one shape, got {' and '.join(str(list(s)) for s in shapes)}")
    return torch.stack(xs, dim)


@op("unsqueeze")
def unsqueeze(x: Tensor, dim: int = 1) -> Tensor:
    """The input with a new axis of size 1 at `dim`: [B, D] -> [B, 1, D]."""
    return x.unsqueeze(dim)


@op("squeeze")
def squeeze(x: Tensor, shape: Shape, dim: int = -1) -> Tensor:
    """The input without the axis `dim`, which has size 1: [B, N, 1] -> [B, N]. Raises ValueError for another size."""
    if shape[dim] != 1:
        raise ValueError(f"axis {dim} of {list(shape)} has {shape[dim]} elements, and only an axis of 1 can go")
    return x.squeeze(dim)


@op("expand")
def expand(x: Tensor, shape: tuple[int, ...], given: Shape) -> Tensor:
    """Axes of size 1 repeated to `shape`, which leaves the batch out; -1 keeps an axis. New axes stand before them.

    [B, 1, D] with shape [N, -1] gives [B, N, D].
    """
    added = 1 + len(shape) - len(given)
    if added < 0:
        raise ValueError(f"shape {list(shape)} has fewer axes than samples of {list(given[1:])}")
    for _ in range(added):
        x = x.unsqueeze(1)
    return x.expand(-1, *shape)


@op("tile")
def tile(x: Tensor, repeats: tuple[int, ...]) -> Tensor:
    """Each axis after the batch repeated as a whole: [B, N, D] with repeats [2, 1] gives [B, 2 * N, D]."""
    return x.repeat(1, *repeats)


@op("repeat_interleave")
def repeat_interleave(x: Tensor, repeats: int, dim: int = 1) -> Tensor:
    """Every element of an axis `repeats` times in a row: a b -> a a b b; [B, N, D] -> [B, repeats * N, D] for dim 1."""
    return x.repeat_interleave(repeats, dim)


@op("roll")
def roll(x: Tensor, shifts: tuple[int, ...], dims: tuple[int, ...]) -> Tensor:
    """Axes `dims` moved along by `shifts`; what leaves at one end enters at the other. The shape stays."""
    return torch.roll(x, shifts, dims)


@op("flip")
def flip(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Axes `dims` in reverse order. The shape stays."""
    return x.flip(dims)


@op("pad")
def pad(
    x: Tensor,
    padding: tuple[int, ...],
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant",
    value: float = 0.0,
) -> Tensor:
    """Elements put before and after, two numbers for each axis from the last one back, as `F.pad` has it.

    [B, C, H, W] with padding [left, right, top, bottom] gives [B, C, top + H + bottom, left + W + right]; negative
    numbers cut off.
    """
    return F.pad(x, padding, mode, value if mode == "constant" else None)


@op("cast")
class Cast(nn.Module):
    """The input in another `dtype`; the shape stays.

    `float` is the dtype of the model itself, also after `.to(torch.bfloat16)`; every other one stays what it says.
    """

    like: Tensor

    def __init__(
        self, dtype: Literal["float", "float32", "float64", "float16", "bfloat16", "int64", "int32", "bool"]
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("like", torch.empty(0), persistent=False)  # `.to(dtype)` reaches it

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.like.dtype if self.dtype == "float" else getattr(torch, self.dtype))

    def extra_repr(self) -> str:
        return self.dtype


@op("detach")
def detach(x: Tensor) -> Tensor:
    """The input, through which no gradient passes."""
    return x.detach()


@op("straight_through")
def straight_through(value: Tensor, gradient: Tensor) -> Tensor:
    """The value of one input with the gradient of the other, of one shape (Bengio et al., 2013).

    For instance a rounded value whose gradient passes as if it were not rounded.
    """
    return gradient + (value - gradient).detach()
