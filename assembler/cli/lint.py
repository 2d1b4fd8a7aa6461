"""What `assembler lint` does, without torch and without typer: an editor may call it at every stroke."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assembler.cli import say
from assembler.errors import AssemblerError, Problem, RecipeError

_WITH_VALUE = {"-o": "override", "--override": "override", "--plugin": "plugin"}


def lint(recipe: Sequence[str], override: Sequence[str] | None = None) -> dict[str, Any]:
    """Check recipes. Raises RecipeError with all problems of all files."""
    problems: list[Problem] = []
    for ref in recipe:
        found, note = _problems(ref, override or [])
        problems += found
        if not found:
            say.line(f"{ref}: ok" + (f"; {note}" if note else ""))
    if problems:
        raise RecipeError(problems)
    return {"recipes": list(recipe), "problems": []}


def parse(words: Sequence[str]) -> dict[str, Any] | None:
    """The arguments of `lint` in their plain forms; None for anything else (help, a mistake), which is typer's."""
    found: dict[str, Any] = {"recipe": [], "override": [], "plugin": [], "json": False}
    rest = iter(words)
    for word in rest:
        if word in _WITH_VALUE:
            value = next(rest, None)
            if value is None:
                return None
            found[_WITH_VALUE[word]].append(value)
        elif word == "--json":
            found["json"] = True
        elif word.startswith("-"):
            return None
        else:
            found["recipe"].append(word)
    return found if found["recipe"] else None


def _problems(ref: str, overrides: Sequence[str]) -> tuple[list[Problem], str]:
    """What is wrong with a recipe, and what is to be noted of one that is not wrong."""
    from assembler.pipeline.checking.check import check, left_out
    from assembler.recipe.document import load

    try:
        document = load(ref, overrides, strict=False)
        found = check(document)
        return found, "" if found else left_out(document)
    except AssemblerError as error:
        return list(error.problems), ""
