"""What a value depends on: earlier elements alone, anything at all, how many of the inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from assembler.checks.subject import Subject
from assembler.checks.values import difference
from assembler.errors import RecipeError
from assembler.registry import check

_MOST_CUTS = 32
_DRAWS = 3


@check(values=("of", "on"))
def causal(
    model: Subject, *, of: str = "", on: str = "", axis: int = 1, on_axis: int | None = None, lag: int = 0
) -> float:
    """The largest change of elements of `of` along `axis` when only later elements of `on` are changed.

    With `lag: 1` the element of `on` at the same place counts as later too. Axes of different lengths are matched
    by their ratio. Long axes are tried at 32 places.
    """
    of, on = model.first(of), model.source(on)
    if not model.reads(of, on):
        hint = f"`of` is what is looked at, `on` what is changed; that '{of}' ignores it is a claim of `independent`"
        raise RecipeError(f"'{of}' is not made from '{on}': no element of that could change it", hint=hint)
    base = model.values([of, on])
    along, there = axis, axis if on_axis is None else on_axis
    size, reach = base[on].shape[there], base[of].shape[along]
    if size < 2:
        raise RecipeError(f"'{on}' has one element along axis {there}: there is nothing later")
    fresh = model.redraw(on, base[on])
    largest = 0.0
    for cut in _places(size):
        later = _along(torch.arange(size) >= cut, base[on], there)
        changed = model.value(of, given={on: torch.where(later, fresh, base[on])})
        kept = min(reach, (cut + lag) * reach // size)
        largest = max(largest, difference(base[of].narrow(along, 0, kept), changed.narrow(along, 0, kept)))
    return largest


@check(values=("of", "on", "where", "seen"))
def independent(model: Subject, *, of: str = "", on: str, where: str = "", seen: str = "") -> float:
    """The largest change of `of` when `on`, an input or any value of the model, is drawn anew.

    `where` names a value that is not zero where `on` is changed, `seen` one that is not zero where `of` is looked at.
    """
    of = model.first(of)
    base = model.values([n for n in (of, on, where, seen) if n])
    looked = _mask(base, seen, of)
    largest = 0.0
    for n in range(_DRAWS):
        fresh = torch.where(_mask(base, where, on), model.redraw(on, base[on], n), base[on])
        changed = model.value(of, given={on: fresh})
        largest = max(largest, difference(base[of][looked], changed[looked]))
    return largest


@check(values=("of", "on"))
def receptive_field(
    model: Subject, *, of: str = "", on: str = "", axis: int | None = None, position: list[int] | None = None
) -> int:
    """How many elements of `on` one element of `of` depends on, told by gradients that are not zero in any of 3 draws.

    `position` is the element's index behind the batch, the middle by default; where it is shorter, all elements under
    it count as one. With `axis` it is counted how many places along that axis of `on` there are.
    """
    of, on = model.first(of), model.source(on)
    touched = torch.zeros(())
    for n in range(_DRAWS):
        inputs = model.inputs()
        start = inputs[on] if on in inputs else model.value(on)
        leaf = (start if n == 0 else model.redraw(on, start, n)).detach().requires_grad_()
        value = model.value(of, given={on: leaf}, graded=True)
        at = tuple(size // 2 for size in value.shape[1:]) if position is None else tuple(position)
        picked = value[(0, *at)].sum()
        grad = torch.autograd.grad(picked, leaf, allow_unused=True)[0] if picked.requires_grad else None
        touched = touched + (grad[0] != 0 if grad is not None else torch.zeros(leaf.shape[1:], dtype=torch.bool))
    places = touched != 0
    if axis is not None:
        places = places.movedim(axis - 1 if axis > 0 else axis, 0).flatten(1).any(1) if places.ndim > 1 else places
    return int(places.sum())


def _places(size: int) -> list[int]:
    """Where an axis is cut: everywhere, or evenly."""
    if size <= _MOST_CUTS:
        return list(range(1, size))
    return sorted({round(1 + n * (size - 2) / (_MOST_CUTS - 1)) for n in range(_MOST_CUTS)})


def _along(row: Tensor, like: Tensor, axis: int) -> Tensor:
    """A row of flags, one for each element along an axis, for a whole tensor."""
    sizes = [1] * like.ndim
    sizes[axis] = len(row)
    return row.reshape(sizes).expand(like.shape)


def _mask(values: dict[str, Tensor], name: str, like: str) -> Tensor:
    """Where the value `name` is not zero, for the elements of the value `like`; everywhere without a name."""
    wanted = values[like]
    if not name:
        return torch.ones(wanted.shape, dtype=torch.bool)
    mask = values[name] != 0
    mask = mask.reshape(*mask.shape, *[1] * (wanted.ndim - mask.ndim))
    try:
        return mask.expand(wanted.shape)
    except RuntimeError:
        sizes = f"{list(values[name].shape)} and {list(wanted.shape)}"
        raise RecipeError(f"'{name}' does not say where in '{like}': they are {sizes}") from None
