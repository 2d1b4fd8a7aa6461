"""The command line: one verb a file, each imported only when it is called. `main` is the console script."""

from __future__ import annotations

import sys
from io import TextIOWrapper


def main() -> None:
    """Run the command line and exit: 0 done, 1 ran and failed, 2 bad input, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a sign must not end a run
    try:
        _lint(sys.argv[1:])
        from assembler.cli.app import app

        app(prog_name="assembler")
    except KeyboardInterrupt:  # before a verb could begin
        sys.exit(130)


def _lint(words: list[str]) -> None:
    """`lint` in its plain form does without typer, which takes half of the time that it has; it exits here."""
    if words[:1] == ["lint"]:
        from assembler.cli import guard
        from assembler.cli.lint import lint, parse

        found = parse(words[1:])
        if found:
            options = {"recipe": found["recipe"], "override": found["override"]}
            guard.call(lint, options, found["plugin"], found["json"])
            sys.exit(0)
