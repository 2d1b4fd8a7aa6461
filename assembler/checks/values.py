"""What the values of one forward pass are: how large, how many, how alike."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from assembler.checks.subject import Subject
from assembler.errors import RecipeError
from assembler.registry import check


@check(values=("of",))
def measure(
    model: Subject,
    *,
    of: str = "",
    take: Literal["largest", "smallest", "mean", "sum", "norm", "std", "nonzero", "distinct", "step"] = "largest",
    axis: int | None = None,
    over: Literal["largest", "smallest", "mean"] = "largest",
) -> float:
    """A figure of a value: its largest or smallest element, mean, sum, 2-norm, standard deviation, number of non-zero
    or of distinct elements, or (`step`) the smallest difference from one element to the next.

    With `axis` it is taken along that axis, and `over` says which of all that come out.
    """
    value = model.value(model.first(of))
    if axis is None:
        value, axis = value.reshape(1, -1), 1
    rows = _along(value, take, axis).double()
    return float(rows.mean() if over == "mean" else rows.max() if over == "largest" else rows.min())


def _along(value: Tensor, take: str, axis: int) -> Tensor:
    value = value.movedim(axis, -1)
    match take:
        case "largest":
            return value.amax(-1)
        case "smallest":
            return value.amin(-1)
        case "nonzero":
            return (value != 0).sum(-1)
        case "distinct":
            ordered = value.sort(-1).values
            return 1 + (ordered[..., 1:] != ordered[..., :-1]).sum(-1)
        case "step":
            if value.shape[-1] < 2:
                raise RecipeError("there is no step from one element to the next: the axis has one element")
            return value.double().diff(dim=-1).amin(-1)
        case "norm":
            return value.double().square().sum(-1).sqrt()
        case "std":
            return value.double().std(-1, correction=0)
        case "sum":
            return value.double().sum(-1)
        case _:
            return value.double().mean(-1)


@check(values=("of",))
def outside(
    model: Subject,
    *,
    of: str = "",
    low: float | None = None,
    high: float | None = None,
    members: list[float] | None = None,
) -> float:
    """How far the elements of a value lie from a range or a set of numbers, at most: 0 where all are inside."""
    value = model.value(model.first(of)).double()
    found = torch.zeros_like(value)
    if low is not None:
        found = found.maximum(low - value)
    if high is not None:
        found = found.maximum(value - high)
    if members is not None:
        allowed = torch.tensor(members, dtype=value.dtype)
        found = found.maximum((value[..., None] - allowed).abs().amin(-1))
    if low is None and high is None and members is None:
        raise RecipeError("the check 'outside' needs a range or a set", hint="low: 0, high: 1, or members: [0, 1]")
    return float(found.max())


@check(values=("of", "to"))
def equal(model: Subject, *, of: str, to: str | float, relative: bool = False) -> float:
    """The largest difference between two values of one forward pass, or a value and a number.

    `relative` divides it by the largest element of the second.
    """
    names = [of, to] if isinstance(to, str) else [of]
    found = model.values(names)
    target = found[to] if isinstance(to, str) else torch.as_tensor(float(to), dtype=torch.float64)
    if isinstance(to, str) and found[of].shape != target.shape:
        sizes = f"{list(found[of].shape)} and {list(target.shape)}"
        raise RecipeError(f"'{of}' and '{to}' cannot be compared: they are {sizes}")
    return difference(found[of], target) / (max(float(target.double().abs().max()), 1e-300) if relative else 1.0)


def difference(a: Tensor, b: Tensor) -> float:
    """The largest absolute difference; infinite where one is not a number and the other is."""
    gap = (a.double() - b.double()).abs()
    same = (a == b) | (a.isnan() & b.isnan())  # infinities of one sign too
    gap = torch.where(same, torch.zeros_like(gap), gap)
    return float(gap.nan_to_num(nan=float("inf")).max()) if gap.numel() else 0.0
