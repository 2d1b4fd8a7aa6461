"""Values as Python text, with every scalar in them open to be written otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Leaf = Callable[[Any, str], str]
"""Writes a scalar; the string is what it is called, "" where nobody knows."""


def plain(value: Any, called: str = "") -> str:
    """A scalar as itself.

    >>> plain(float("nan")), plain(2)
    ('float("nan")', '2')
    """
    if isinstance(value, str):
        return repr(value) if '"' in value or "\\" in repr(value) else f'"{value}"'
    return f'float("{value}")' if isinstance(value, float) and value - value != 0 else repr(value)


def literal(value: Any, leaf: Leaf = plain, called: str = "") -> str:
    """A scalar or a tuple of them as Python text.

    >>> literal((1, (2.0, None)))
    '(1, (2.0, None))'
    """
    if not isinstance(value, tuple):
        return leaf(value, called)
    inner = ", ".join(literal(v, leaf, called) for v in value)
    return f"({inner},)" if len(value) == 1 else f"({inner})"
