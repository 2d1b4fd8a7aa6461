"""Elements chosen by index or by condition, and the indices themselves (int64)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Shapes, op


@op("argmax")
def argmax(x: Tensor, dim: int = -1, keepdim: bool = False) -> Tensor:
    """Place of the largest element of an axis: [B, N, D] -> int64 [B, N] for the last one. No gradient passes."""
    return x.argmax(dim, keepdim)


@op("argsort")
def argsort(x: Tensor, dim: int = -1, descending: bool = False) -> Tensor:
    """Places of the elements of an axis in rising order, int64 of the input's shape. No gradient passes."""
    return x.argsort(dim, descending)


@op("topk", outputs=("values", "indices"))
def topk(x: Tensor, k: int = 1, dim: int = -1) -> tuple[Tensor, Tensor]:
    """The `k` largest elements of an axis, largest first, and their places: [B, N] -> [B, k] and int64 [B, k]."""
    found = torch.topk(x, k, dim)
    return found[0], found[1]


@op("one_hot")
class OneHot(nn.Module):
    """Indices as rows of zeros with a one: int64 [..] -> [.., classes]. No gradient passes.

    Without a `dtype` they are of the model's own, as its weights are.
    """

    like: Tensor

    def __init__(self, classes: int, dtype: Literal["float32", "int64", "bool"] | None = None) -> None:
        super().__init__()
        self.classes, self.dtype = classes, dtype
        self.register_buffer("like", torch.empty(0), persistent=False)  # `.to(dtype)` reaches it

    def forward(self, x: Tensor) -> Tensor:
        return F.one_hot(x, self.classes).to(getattr(torch, self.dtype) if self.dtype else self.like.dtype)

    def extra_repr(self) -> str:
        return f"{self.classes}, dtype={self.dtype}"


@op("gather")
def gather(x: Tensor, index: Tensor, dim: int = 1) -> Tensor:
    """Elements at `index` along an axis, torch's `gather`: both of equally many axes, the result of `index`'s shape."""
    return x.gather(dim, index)


@op("take")
def take(x: Tensor, index: Tensor, shapes: Shapes) -> Tensor:
    """Whole rows of each sample: [B, N, ...] at int64 [B, K] -> [B, K, ...], at int64 [B] -> [B, ...].

    Raises ValueError for an index of more axes.
    """
    given, rest = len(shapes[1]), shapes[0][2:]
    if given > 2:
        raise ValueError(f"the index of rows is [B] or [B, K], got {list(shapes[1])}")
    places = index.reshape(x.shape[0], -1, *(1,) * len(rest)).expand(-1, -1, *rest)
    rows = x.gather(1, places)
    return rows if given == 2 else rows.squeeze(1)


@op("scatter_add")
def scatter_add(x: Tensor, index: Tensor, source: Tensor, shapes: Shapes, dim: int = 1) -> Tensor:
    """The first input with `source` added at the places `index` along an axis, torch's `scatter_add`.

    An index of fewer axes, int64 [B, K] for [B, N, ...] and source [B, K, ...], is of whole rows, as `take` reads them.
    """
    rest = shapes[2][len(shapes[1]) :]
    for _ in rest:
        index = index.unsqueeze(-1)
    return x.scatter_add(dim, index.expand(*(-1,) * len(shapes[1]), *rest) if rest else index, source)


@op("where")
def where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The second input where the condition is true or not zero, else the third; broadcast along axes of size 1."""
    return torch.where(condition.bool(), x, y)


@op("masked_fill")
def masked_fill(x: Tensor, mask: Tensor, value: float = 0.0) -> Tensor:
    """The input with `value` wherever the mask is true or not zero; the mask is broadcast to it."""
    return x.masked_fill(mask.bool(), value)


@op("compare")
def compare(
    x: Tensor,
    y: Tensor | None = None,
    relation: Literal["lt", "le", "gt", "ge", "eq", "ne"] = "gt",
    than: float = 0.0,
) -> Tensor:
    """Whether each element is less than (`lt`), at most, greater, at least, equal to or not equal to `y`: bool.

    `y` is another input or, without one, the constant `than`. No gradient passes; products of bools are `and`.
    """
    function = {"lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge, "eq": torch.eq, "ne": torch.ne}
    return function[relation](x, than if y is None else y)
