"""Sizes of a trace in which the batch is left open, and other axes where they were asked for.

A size of the batch alone is a whole multiple of it plus a whole number. One that another axis has a part in is written
as a `Free` until `references` finds a value that has it as an axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from assembler.infer.batch import Size

_TRIED = (2, 3, 5, 8, 13)
"""Batches at which a size is evaluated to tell what it depends on."""
_FREE = "\0"
"""What the text of a `Free` begins with, as no argument does."""


def size_of(value: int | torch.SymInt) -> Size | None:
    """A size as a multiple of the batch, or None where it depends on the batch in another way, or on another axis."""
    if isinstance(value, int):
        return Size(0, value)
    expression = value.node.expr
    if _others(value):
        return None
    found = [int(expression.subs(dict.fromkeys(expression.free_symbols, batch))) for batch in _TRIED]
    times, rest = divmod(found[1] - found[0], _TRIED[1] - _TRIED[0])
    size = Size(times, found[0] - times * _TRIED[0])
    return size if not rest and found == [size.at(batch) for batch in _TRIED] else None


def is_batch(value: Any) -> bool:
    """Whether a size is the batch itself."""
    return isinstance(value, torch.SymInt) and size_of(value) == Size(1, 0)


def _others(value: torch.SymInt) -> list[Any]:
    """The symbols of a size that are those of other axes than the first."""
    known = value.node.shape_env.var_to_sources
    symbols = sorted(value.node.expr.free_symbols, key=str)
    return [s for s in symbols if any(getattr(source, "idx", 0) for source in known.get(s, ()))]


@dataclass(frozen=True)
class Free:
    """A size that is `times * base + plus`; `whole` and `base` are expressions that the axis of a value may have."""

    whole: str
    times: int = 1
    base: str = ""
    plus: int = 0

    def __str__(self) -> str:
        return _FREE + _FREE.join((self.whole, str(self.times), self.base, str(self.plus)))

    def at(self, axes: tuple[str, ...]) -> str:
        """How a graph says this size of a value with these axes: `N2`, `4*N1+1`; "" where it cannot."""
        for expression, size in ((self.whole, Size(1, 0)), (self.base, Size(self.times, self.plus))):
            found = next((n for n, axis in enumerate(axes) if n and axis == expression), 0)
            if found:
                return str(size).replace("B", f"N{found}")
        return ""


def free_of(value: Any) -> Free | None:
    """A size that another axis than the batch has a part in, else None."""
    if not isinstance(value, torch.SymInt) or not _others(value):
        return None
    expression = value.node.expr
    symbols = list(expression.free_symbols)
    if len(symbols) == 1:
        made = expression.as_poly(symbols[0])
        if made is not None and made.degree() == 1 and all(c.is_Integer for c in made.all_coeffs()):
            times, plus = map(int, made.all_coeffs())
            return Free(str(expression), times, str(symbols[0]), plus) if times > 0 else Free(str(expression))
    return Free(str(expression))


def free_in(value: Any) -> list[Free]:
    """Every free size in an argument of a step that is not connected yet."""
    if isinstance(value, dict):
        return [f for v in value.values() for f in free_in(v)]
    if isinstance(value, tuple):
        return [f for v in value for f in free_in(v)]
    return [_read(value)] if isinstance(value, str) and value.startswith(_FREE) else []


def settled_sizes(value: Any, axes: tuple[str, ...]) -> Any:
    """An argument with its free sizes as those of a value with these axes."""
    if isinstance(value, tuple):
        return tuple(settled_sizes(v, axes) for v in value)
    return _read(value).at(axes) if isinstance(value, str) and value.startswith(_FREE) else value


def _read(text: str) -> Free:
    whole, times, base, plus = text.removeprefix(_FREE).split(_FREE)
    return Free(whole, int(times), base, int(plus))


def axes_of(value: Any) -> tuple[str, ...]:
    """The sizes of a tensor of a trace, as expressions that can be compared."""
    return tuple(str(n.node.expr) if isinstance(n, torch.SymInt) else str(n) for n in value.shape)
