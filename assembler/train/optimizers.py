"""Optimisers: each takes its settings and returns what makes it from groups of parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from assembler.errors import RecipeError
from assembler.registry import optimizer
from assembler.train.arguments import check, entry_of

Groups = list[dict[str, Any]]
Maker = Callable[[Groups], torch.optim.Optimizer]


@optimizer
def adamw(
    lr: float = 1e-3, weight_decay: float = 0.05, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> Maker:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""
    return functools.partial(torch.optim.AdamW, lr=lr, weight_decay=weight_decay, betas=(betas[0], betas[1]), eps=eps)


@optimizer
def sgd(lr: float = 0.1, weight_decay: float = 5e-4, momentum: float = 0.9, nesterov: bool = True) -> Maker:
    """Stochastic gradient descent with momentum; `nesterov` is left aside where momentum is 0."""
    nesterov = nesterov and momentum > 0
    return functools.partial(torch.optim.SGD, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov)


def build(
    spec: str | Mapping[str, Any], params: Mapping[str, nn.Parameter], lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The optimiser that `spec` names ("sgd", or `{name: sgd, momentum: 0.8}`), over `params` by recipe path.

    Parameters with at most one axis (biases, gains of norms, scales) get no weight decay.
    Raises RecipeError for an unknown optimiser or argument.
    """
    given = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise RecipeError("an optimizer needs a 'name', a string", path="optimizer", hint="{name: sgd, momentum: 0.8}")
    if twice := sorted({"lr", "weight_decay"} & set(given)):
        raise RecipeError(f"'{twice[0]}' stands beside `optimizer`, not inside it", path="optimizer")
    entry = entry_of("optimizer", name, path="optimizer")
    args = check(entry, {"lr": lr, "weight_decay": weight_decay, **given}, path="optimizer")
    make: Maker = entry.load()(**args)
    return make(_groups(params))


def _groups(params: Mapping[str, nn.Parameter]) -> Groups:
    matrices = [p for p in params.values() if p.ndim > 1]
    vectors = [p for p in params.values() if p.ndim <= 1]
    groups: Groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
