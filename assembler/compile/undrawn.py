"""Modules made without drawing weights that are about to be replaced."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

_DRAWING = frozenset((nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_))
"""What torch's own layers draw their weights by."""


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
