"""Gradients: whether a value has any to some weights or values, and whether they are right."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from assembler.checks.subject import Subject
from assembler.compile.lower import lower
from assembler.errors import RecipeError, near
from assembler.graph.values import covers
from assembler.registry import check


@check(values=("of", "on", "where"), paths=("weights",))
def gradient(
    model: Subject,
    *,
    of: str = "",
    on: str | list[str] | None = None,
    weights: str | list[str] | None = None,
    where: str = "",
) -> float:
    """The largest gradient of a value with respect to other values (`on`) or to weights: 0 where none arrives.

    `weights` are paths, in which `*` stands for any one part. Frozen weights get none. `where` names a value that is
    not zero where the elements of `on` are looked at. The value is weighted by fixed random numbers, so that gradients
    do not cancel out.
    """
    of = model.first(of)
    found = _gradients(model, of, _list(on), _list(weights))
    if where:
        mask = model.value(where) != 0
        found = (g[mask.expand(g.shape)] for g in found)
    return max((float(g.abs().max()) for g in found if g.numel()), default=0.0)


@check(values=("of", "on"))
def gradient_error(model: Subject, *, of: str = "", on: str = "", step: float = 1e-6) -> float:
    """How far the gradient of a value with respect to `on` is from a central difference, relative to the larger one.

    Both are taken along one random direction; `step` is how far the input is moved each way.
    """
    of, on = model.first(of), model.source(on)
    base = model.values([of, on])
    leaf = base[on].detach().requires_grad_()
    scale = _noise(model, base[of], 1)
    way = _noise(model, leaf, 2)
    value = (model.value(of, given={on: leaf}, graded=True) * scale).sum()
    grad = torch.autograd.grad(value, leaf, allow_unused=True)[0] if value.requires_grad else None
    slope = float((grad * way).sum()) if grad is not None else 0.0
    ends = [(model.value(of, given={on: base[on] + s * step * way}) * scale).sum() for s in (1, -1)]
    measured = float(ends[0] - ends[1]) / (2 * step)
    return abs(slope - measured) / max(abs(slope), abs(measured), 1e-12)


def _gradients(model: Subject, of: str, on: list[str], weights: list[str]) -> Iterator[Tensor]:
    if not on and not weights:
        raise RecipeError("the check 'gradient' needs 'on' or 'weights'", hint="on: image, or weights: [encoder]")
    for name in on:
        leaf = model.value(name).detach()
        if leaf.is_floating_point():  # others have none
            leaf.requires_grad_()
            yield from _of(model, model.value(of, given={name: leaf}, graded=True), [leaf])
    if weights:
        held = _weights(model, of, weights)
        yield from _of(model, model.value(of, graded=True), held)


def _of(model: Subject, value: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """The gradients of a randomly weighted sum of a value."""
    leaves = [leaf for leaf in leaves if leaf.requires_grad]
    if not value.requires_grad or not leaves:
        return []
    total = (value * _noise(model, value, 1)).sum()
    return [g for g in torch.autograd.grad(total, leaves, allow_unused=True) if g is not None]


def _weights(model: Subject, of: str, paths: list[str]) -> list[Tensor]:
    """The weights under the paths that the value is made with. Raises RecipeError for a path that has none at all."""
    whole = [*dict(lower(model.plain).named_parameters())]
    for path in paths:
        if not any(covers(path, name) for name in whole):
            hint = near(path, [*whole, *(n.rpartition(".")[0] for n in whole)])
            raise RecipeError(f"'{path}' has no weights", hint=hint)
    used = model.made_with(of).named_parameters()
    return [p for name, p in used if any(covers(path, name) for path in paths)]


def _noise(model: Subject, like: Tensor, stream: int) -> Tensor:
    return torch.randn(like.shape, generator=model.generator(100 + stream), dtype=like.dtype)


def _list(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else names or []
