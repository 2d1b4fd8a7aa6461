"""A step called once more where it takes gradients of what it is given by what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_ASKED = ("does not require grad", "not have been used in the graph")
"""Parts of what torch says where a gradient is asked for and nothing was followed."""


def followed(call: Callable[[Mapping[str, Any]], T], values: Mapping[str, Any]) -> T:
    """What `call` makes of values; one that asks for gradients gets values that depend on each other.

    A step alone does not know which of its inputs was made of which: each is first made of all before it, then of all
    after it.
    """
    try:
        return call(values)
    except RuntimeError as error:
        if not any(said in str(error) for said in _ASKED):
            raise
    with torch.enable_grad():
        try:
            return call(_chained(values))
        except RuntimeError as error:
            if _ASKED[1] not in str(error):
                raise
        return call(_chained({name: values[name] for name in reversed([*values])}))


def _chained(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that follow gradients, each to all before it."""
    found: dict[str, Any] = {}
    last: Tensor | None = None
    for name, value in values.items():
        found[name] = value
        if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()):
            leaf = value.detach().requires_grad_()
            last = found[name] = leaf if last is None else leaf + 0 * last.sum().real.to(leaf.dtype)
    return found
