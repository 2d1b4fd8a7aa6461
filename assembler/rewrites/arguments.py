"""The op that a rewrite is to put somewhere, and its arguments: checked, and in a form that can be hashed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assembler.errors import RecipeError
from assembler.registry import checks, lookup


class Arguments(dict[str, Any]):
    """Arguments by name that nobody changes, and which so have a hash."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(sorted(self.items())))


def checked(op: str, args: Mapping[str, Any], of: str | None = None) -> Arguments:
    """The arguments for `op`; `of` is the op that it is meant for.

    Raises AssemblerError for an op that there is not, RecipeError for arguments that `op` does not take.
    """
    entry = lookup("op", op)
    if of is not None:
        lookup("op", of)
    if problems := list(checks.problems(entry, args, lambda _: None)):
        raise RecipeError(problems)
    return Arguments(args)
