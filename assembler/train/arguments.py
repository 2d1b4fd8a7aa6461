"""What a recipe writes for a registered thing, checked against the thing's signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from assembler.errors import AssemblerError, Problem, RecipeError, near
from assembler.registry import Entry, checks, lookup


def entry_of(kind: str, name: str, *, path: str = "", error: type[AssemblerError] = RecipeError) -> Entry:
    """The registered thing of that name. Raises `error` with the nearest names where there is none."""
    try:
        return lookup(kind, name)
    except AssemblerError as unknown:
        raise error([replace(problem, path=path) for problem in unknown.problems]) from None


def check(
    entry: Entry,
    given: Mapping[str, Any],
    *,
    path: str = "",
    reserved: tuple[str, ...] = (),
    error: type[AssemblerError] = RecipeError,
) -> dict[str, Any]:
    """The arguments to call `entry` with: `given`, defaults filled in, in the signature's order.

    `reserved` are names that are no arguments but may be written beside them, for the "did you mean". All that is wrong
    with `given` is raised at once, as an `error`.
    """
    problems = [_nearer(p, reserved) for p in checks.problems(entry, given, lambda name: None, path=path)]
    if problems:
        raise error(problems)
    return {p.argument or p.name: given.get(p.name, p.default) for p in entry.params}


def _nearer(problem: Problem, reserved: tuple[str, ...]) -> Problem:
    """An unknown argument may be a slip for one of the keys that stand beside arguments."""
    unknown = problem.message.split("'")[-2] if " has no " in problem.message else ""
    hint = near(unknown, reserved) if unknown and not problem.hint.startswith("did you mean") else ""
    return replace(problem, hint=hint or problem.hint)
