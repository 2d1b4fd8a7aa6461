"""What holds for every verb: plug-ins, the JSON line, what an error looks like, which code the program ends with.

Free of typer, which takes longer to import than `lint` may take.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from assembler import registry
from assembler.cli import say
from assembler.errors import AssemblerError, Problem

Verb = Callable[..., dict[str, Any] | None]
_INTERRUPTED = "interrupted; what is finished is kept, and the same command goes on from there"


class AnswerError(Exception):
    """A verb did its work and the answer is no (a file is not formatted, a part is damaged): exit code 1.

    `data` is what `--json` prints.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        super().__init__()


def call(verb: Verb, options: dict[str, Any], plugins: Iterable[str | Path], as_json: bool) -> None:
    """Call a verb. What it returns is the JSON object; what it raises is shown and ends the program with its code."""
    try:
        for file in plugins:
            registry.add_plugin(file)
        _answer(verb(**options), as_json)
    except AnswerError as error:
        _answer(error.data, as_json)
        sys.exit(1)
    except (KeyboardInterrupt, Exception) as error:
        _end(error, as_json)


def _answer(data: dict[str, Any] | None, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(data or {}) + "\n")
    sys.stdout.flush()


def _end(error: BaseException, as_json: bool) -> NoReturn:
    """Say what went wrong and leave with the code for it."""
    if isinstance(error, BrokenPipeError):
        _hush()
        sys.exit(1)
    if isinstance(error, KeyboardInterrupt):
        say.note(_INTERRUPTED)
        sys.exit(130)
    problems, code = _explained(error)
    for problem in problems:
        say.problem(problem)
    if os.environ.get("ASSEMBLER_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    if as_json:
        told = [{"message": p.message, "where": str(p.span or p.path), "hint": p.hint} for p in problems]
        _answer({"error": told}, as_json)
    sys.exit(code)


def _explained(error: BaseException) -> tuple[tuple[Problem, ...], int]:
    if isinstance(error, AssemblerError):
        return error.problems, error.exit_code
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    debug = "ASSEMBLER_DEBUG=1 shows the traceback"
    if place := _in_plugin(error):
        return (Problem(f"the plug-in failed: {what}", path=place, hint=debug),), 1
    if isinstance(error, OSError) and error.filename is not None:
        return (Problem(f"{error.strerror or what}: {error.filename}"),), 1
    if isinstance(error, MemoryError):
        return (Problem("there is not enough memory", hint="use fewer --workers or a smaller batch"),), 1
    return (Problem(f"this is a bug in assembler: {what}", hint=debug),), 1


def _in_plugin(error: BaseException) -> str:
    """`file:line` of the innermost frame in a plug-in, or nothing where the error did not pass through one."""
    plugins, place = {str(file) for file in registry.plugins()}, ""
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename in plugins:
            place = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}"
        at = at.tb_next
    return place


def _hush() -> None:
    """Let nothing more be written to a pipe that nobody reads, not even when Python ends."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
