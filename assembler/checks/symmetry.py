"""Symmetries of a model: what moves along with its input, and what stays."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from assembler.checks.subject import Subject
from assembler.checks.values import difference
from assembler.registry import check


@check(values=("of", "on"))
def equivariant(
    model: Subject,
    *,
    under: Literal["permutation", "flip", "shift", "scale"],
    of: str = "",
    on: str | list[str] = "",
    axis: int = 1,
    of_axis: int | None = None,
    by: float = 0.0,
    degree: float = 1.0,
) -> float:
    """The largest difference between the value of a moved input and the moved value of the input.

    The elements along `axis` are permuted, flipped or shifted (`by` places, round the end, 1 by default); `on` may
    list inputs that are moved together. `scale` multiplies by the number `by` (2 by default), and the value by it to
    the power of `degree`.
    """
    of, names = model.first(of), _names(model, on)
    base = model.values([of, *names])
    moved = model.value(of, given={n: _moved(model, base[n], under, axis, by) for n in names})
    if under == "scale":
        return difference(moved, base[of] * (by or 2.0) ** degree)
    return difference(moved, _moved(model, base[of], under, axis if of_axis is None else of_axis, by))


@check(values=("of", "on"))
def invariant(
    model: Subject,
    *,
    under: Literal["permutation", "flip", "shift", "scale"],
    of: str = "",
    on: str | list[str] = "",
    axis: int = 1,
    by: float = 0.0,
) -> float:
    """The largest change of a value when its input is permuted, flipped, shifted or scaled, as in `equivariant`."""
    of, names = model.first(of), _names(model, on)
    base = model.values([of, *names])
    return difference(model.value(of, given={n: _moved(model, base[n], under, axis, by) for n in names}), base[of])


def _names(model: Subject, on: str | list[str]) -> list[str]:
    return on if isinstance(on, list) else [model.source(on)]


def _moved(model: Subject, value: Tensor, under: str, axis: int, by: float) -> Tensor:
    match under:
        case "flip":
            return value.flip(axis)
        case "shift":
            return value.roll(int(by) or 1, axis)
        case "scale":
            return value * (by or 2.0)
        case _:
            order = torch.randperm(value.shape[axis], generator=model.generator(7))
            return value.index_select(axis, order)
