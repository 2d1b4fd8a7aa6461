"""A growing list of what is wrong with a recipe: each mistake once, however many copies of a step repeat it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from assembler.errors import Problem, Span

MOST_PROBLEMS = 100
_NUMBER = re.compile(r"-?\d[\w.+-]*")


def note(problems: list[Problem], message: str, span: Span | None, hint: str = "", path: str = "") -> None:
    """Add a problem, unless the same one is there: at that place, in words that differ by numbers alone.

    `path` says where it is if there is no span. After `MOST_PROBLEMS` no more are taken.
    """
    if len(problems) > MOST_PROBLEMS:
        return
    problem = Problem(message, span, "" if span else path, hint)
    if len(problems) == MOST_PROBLEMS:
        problems.append(Problem("there are more problems than these", hint="mend these first"))
    elif all(_key(p) != _key(problem) for p in problems):
        problems.append(problem)


def note_all(problems: list[Problem], found: Iterable[Problem]) -> None:
    """Add every one of `found` that is new."""
    for p in found:
        note(problems, p.message, p.span, p.hint, p.path)


def _key(problem: Problem) -> tuple[object, ...]:
    return problem.span, problem.path, _NUMBER.sub("#", problem.message)


def in_order(problems: Iterable[Problem], main: str = "") -> list[Problem]:
    """Problems without a place, then those of the file `main`, then the other files', each from top to bottom."""
    found = list(problems)
    files = list(dict.fromkeys([main, *(p.span.file for p in found if p.span)]))
    return sorted(found, key=lambda p: (files.index(p.span.file), p.span.line, p.span.column) if p.span else (-1, 0, 0))
