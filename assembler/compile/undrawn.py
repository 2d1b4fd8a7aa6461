"""Weights drawn without work in vain: none that are about to be replaced, and none looked at that cannot be outside."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from assembler.registry import lookup

_DRAWING = frozenset((nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_))
"""What torch's own layers draw their weights by."""
_TRUNCATED = {"mean": 0.0, "std": 1.0, "a": -2.0, "b": 2.0}
"""The arguments of `trunc_normal_`, and what they are if nobody says."""
_FARTHEST = 9.0
"""Standard deviations that no number of torch's goes beyond: of u >= 2**-53 Box and Muller make sqrt(-2 ln u) < 8.6."""


class _Undrawn(TorchFunctionMode):
    """Leaves tensors as they lie in memory where torch's layers would draw them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _DRAWING:
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **(kwargs or {}))


def undrawn(make: Callable[[], Any], replaced: Collection[str]) -> Any:
    """What `make` makes; a module all of whose parameters are to be `replaced`, without drawing them first.

    `make` is called once more, and draws, where there turn out to be other parameters.
    """
    if not replaced:
        return make()
    with _Undrawn():
        made = make()
    if isinstance(made, nn.Module) and not all(name in replaced for name, _ in made.named_parameters()):
        return make()
    return made


def fill(tensor: Tensor, initializer: str, args: Mapping[str, Any]) -> None:
    """Fill a tensor by one of `torch.nn.init`. Raises what that raises.

    A normal truncated where no number lies is drawn as the normal that it is, to the same numbers, and not searched.
    """
    if initializer == "trunc_normal":
        mean, std, a, b = (float(args.get(name, value)) for name, value in _TRUNCATED.items())
        if a + _FARTHEST * std <= mean <= b - _FARTHEST * std:
            initializer, args = "normal", {"mean": mean, "std": std}
    lookup("initializer", initializer).load()(tensor, **args)


def filled(tensor: Tensor, initializer: str, args: Iterable[tuple[str, Any]]) -> str:
    """Fill a tensor; what the initialiser says that refuses it, or ""."""
    try:
        fill(tensor, initializer, dict(args))
    except (ValueError, TypeError) as error:
        return str(error)
    return ""


@functools.lru_cache(maxsize=4096)
def refusal(shape: tuple[int, ...], initializer: str, args: tuple[tuple[str, Any], ...]) -> str:
    """What an initialiser says that refuses tensors of a shape, or ""."""
    return filled(torch.empty(shape, device="meta"), initializer, args)
