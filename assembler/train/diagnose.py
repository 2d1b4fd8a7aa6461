"""Why a loss or a gradient stopped being a number, said in the names that the recipe uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from assembler.compile.watch import first_bad
from assembler.errors import Problem, Span, TrainingError

Params = Mapping[str, nn.Parameter]
Values = Mapping[str, Tensor]
Again = Callable[[], Tensor]
"""Computes the loss of the batch at hand once more."""


def finite(tensor: Tensor) -> bool:
    """Whether no element is NaN or infinite."""
    return bool(torch.isfinite(tensor).all())


def bad_loss(
    where: str, loss: Tensor, terms: Values, values: Values, params: Params, lr: float, again: Again | None = None
) -> TrainingError:
    """The error for a loss that is not finite at `where` ("step 3 of 90").

    Names the terms and then the first of these that is not finite either: a trained weight, a step's value, a named
    value. The step is found by computing the loss `again`.
    """
    culprits = [name for name, term in terms.items() if not finite(term)]
    message = f"the loss is {loss.item():g} at {where}"
    if culprits:
        message += f": {_list('term', culprits)}"
    if weight := _first((name, p.detach()) for name, p in params.items()):
        return _error(f"{message}; the weight '{weight}' is not finite", weight, lr)
    if found := again and first_bad(again):
        return _error(f"{message}; {found.message}", found.path, lr, found.span)
    largest = f"the trained weights are finite (the largest, {_largest(params)})"
    if value := _first((name, v) for name, v in values.items() if v.is_floating_point()):
        return _error(f"{message}; the value '{value}' is not finite, {largest}", value, lr)
    return _error(f"{message}; all values are finite, {largest}", "", lr)


def bad_gradient(where: str, params: Params, lr: float, again: Again | None = None) -> TrainingError:
    """The error for a finite loss whose gradient is not; names the first weight of which that holds.

    Also names the step at which the gradient stops being finite, found by computing the loss `again`.
    """
    weight = _first((name, p.grad) for name, p in params.items() if p.grad is not None)
    subject = f"the gradient of '{weight}'" if weight else "the norm of all gradients"
    message = f"{subject} is not finite at {where}, though the loss is"
    if found := again and first_bad(again):
        return _error(f"{message}; {found.message}", found.path, lr, found.span)
    return _error(message, weight, lr)


def _error(message: str, path: str, lr: float, span: Span | None = None) -> TrainingError:
    hint = f"lower `lr` (it was {lr:.3g} in this step), warm up longer, or clip the gradient harder"
    return TrainingError(Problem(message, span, path, hint))


def _first(named: Iterable[tuple[str, Tensor]]) -> str:
    return next((name for name, tensor in named if not finite(tensor)), "")


def _largest(params: Params) -> str:
    sizes = {name: p.detach().abs().max().item() for name, p in params.items() if p.numel()}
    name = max(sizes, key=lambda key: sizes[key])
    return f"'{name}', is at {sizes[name]:.3g}"


def _list(noun: str, names: list[str]) -> str:
    return f"{noun}{'s' if len(names) > 1 else ''} " + ", ".join(f"'{name}'" for name in names)
