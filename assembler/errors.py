"""Every error that the package raises on purpose, and the place it points at."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one source line; `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    text: str = ""
    width: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def caret(self) -> str:
        """The source line with a caret under the stretch, or nothing where the text is unknown."""
        if not self.text.strip():
            return ""
        width = max(1, min(self.width, len(self.text) - self.column + 1))
        return f"    {self.text}\n    {' ' * (self.column - 1)}{'^' * width}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what, where, and what would be right."""

    message: str
    span: Span | None = None
    path: str = ""
    hint: str = ""

    def render(self) -> str:
        """The problem as the command line prints it: `file:line:col: error: ...`, source, caret, hint."""
        where = str(self.span) if self.span else self.path
        head = f"{where}: error: {self.message}" if where else f"error: {self.message}"
        parts = [head]
        if self.span and (caret := self.span.caret()):
            parts.append(caret)
        if self.hint:
            parts.append(f"    hint: {self.hint}")
        return "\n".join(parts)


class AssemblerError(Exception):
    """Root of the package's errors. `exit_code` is what the command line ends with.

    Carries one or more problems; `str(error)` renders all of them.
    """

    exit_code = 1

    def __init__(self, problems: str | Problem | Iterable[Problem], *, hint: str = "", path: str = "") -> None:
        if isinstance(problems, str):
            problems = Problem(problems, hint=hint, path=path)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(problem.render() for problem in self.problems))

    def __reduce__(self) -> tuple[type[AssemblerError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)  # errors cross process borders

    def at(self, span: Span | None) -> AssemblerError:
        """The same error, with `span` on every problem that has none."""
        return type(self)([p if p.span else replace(p, span=span) for p in self.problems])


class RecipeError(AssemblerError):
    """The recipe is wrong: syntax, names, arguments, wiring."""

    exit_code = 2


class GraphError(RecipeError):
    """A graph or an edit of one is wrong: unknown node, cycle, dangling input, bad cut."""


class ShapeError(RecipeError):
    """An op refuses the shapes that reach it."""


class InputError(AssemblerError):
    """Something the user named is missing or unreadable: a file, data, weights, a budget that nothing meets."""

    exit_code = 2


class TrainingError(AssemblerError):
    """Training could not go on, for instance because the loss is no longer finite."""


class StepError(AssemblerError, RuntimeError):
    """A step of a compiled model failed as it ran: the message names its recipe path, its line and what it was given.

    `__cause__` is what the step raised. To those who catch torch's RuntimeError it is one. `failure` is for the module
    around the one that failed, which knows more of the path.
    """

    failure: object = None


class PrunedError(AssemblerError):
    """A training was ended before its time, because it was not promising. `curve` is what it had come to, by step."""

    curve: Sequence[tuple[int, tuple[float, ...]]] = ()


class TaskError(AssemblerError):
    """A task failed; the message says which and why."""


class StoreError(AssemblerError):
    """The parts store cannot be read or written."""


def near(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """A "did you mean" for `name`, or an empty string when nothing known is close.

    >>> near("dwcnv", ["dwconv", "pool"])
    "did you mean 'dwconv'?"
    """
    known = tuple(dict.fromkeys(known))
    found = list(_closest(name, known, most))
    if not found:
        lowered = {k.lower(): k for k in known}
        found = [lowered[name.lower()]] if name.lower() in lowered else []
    if not found:
        return ""
    return "did you mean " + " or ".join(f"'{f}'" for f in found) + "?"


@functools.lru_cache(maxsize=256)  # a mistake in a block is met in each of its copies
def _closest(name: str, known: tuple[str, ...], most: int) -> tuple[str, ...]:
    return tuple(difflib.get_close_matches(name, known, n=most, cutoff=0.6))


def placed(error: BaseException) -> str:
    """Somebody else's error in a line: its class, what it says, and the file and line that raised it."""
    import os.path  # such an error is rare, and a lint is to start at once
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).strip()}".rstrip(": ") + place
