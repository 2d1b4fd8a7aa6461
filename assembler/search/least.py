"""Numbers that options of samplers and pruners must not go below."""

from __future__ import annotations

from typing import TypeVar

from assembler.errors import InputError

N = TypeVar("N", int, float)


def at_least(least: int, of: str, option: str, value: N) -> N:
    """The value of an option of what `of` names (`sampler 'mcts'`). Raises InputError where it is below `least`."""
    if value < least:
        raise InputError(f"'{option}' of {of} is at least {least}, not {value}")
    return value
