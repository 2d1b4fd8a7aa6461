"""What a recipe writes for a registered thing, checked against the thing's signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from assembler.errors import AssemblerError, Problem, RecipeError, near
from assembler.registry import Entry, lookup


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
    what = f"{entry.kind} '{entry.name}'" if entry.name else entry.kind
    problems = []
    for name in given:
        if name not in entry.arguments:
            hint = near(name, [*entry.arguments, *reserved]) or _takes(entry)
            problems.append(Problem(f"{what} has no argument '{name}'", path=path, hint=hint))
    found = {}
    for param in entry.params:
        if param.name not in given:
            if param.required:
                problems.append(Problem(f"{what} needs '{param.name}', {param.type.describe()}", path=path))
            else:
                found[param.argument or param.name] = param.default
        elif not param.type.accepts(given[param.name]):
            expected = f"'{param.name}' of {what} must be {param.type.describe()}"
            problems.append(Problem(f"{expected}, not {given[param.name]!r}", path=path))
        else:
            found[param.argument or param.name] = given[param.name]
    if problems:
        raise error(problems)
    return found


def _takes(entry: Entry) -> str:
    if not entry.arguments:
        return "it takes no arguments"
    return "it takes " + ", ".join(entry.arguments)
