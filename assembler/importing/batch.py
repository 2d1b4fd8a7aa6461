"""Sizes of a trace in which the batch is left open: each is a whole multiple of it plus a whole number."""

from __future__ import annotations

from typing import Any

import torch

from assembler.infer.batch import Size

_TRIED = (2, 3, 5, 8, 13)
"""Batches at which a size is evaluated to tell what it depends on."""


def size_of(value: int | torch.SymInt) -> Size | None:
    """A size as a multiple of the batch, or None where it depends on the batch in another way."""
    if isinstance(value, int):
        return Size(0, value)
    expression = value.node.expr
    found = [int(expression.subs(dict.fromkeys(expression.free_symbols, batch))) for batch in _TRIED]
    times, rest = divmod(found[1] - found[0], _TRIED[1] - _TRIED[0])
    size = Size(times, found[0] - times * _TRIED[0])
    return size if not rest and found == [size.at(batch) for batch in _TRIED] else None


def is_batch(value: Any) -> bool:
    """Whether a size is the batch itself."""
    return isinstance(value, torch.SymInt) and size_of(value) == Size(1, 0)
