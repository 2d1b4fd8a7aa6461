"""Where words go: messages and errors to stderr, tables and answers to stdout; colours on a terminal alone."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from assembler.errors import Problem

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_WIDE = 140  # columns of a table in a pipe or a file, where nothing says how wide it may be


def note(text: str) -> None:
    """A message to stderr."""
    _write(sys.stderr, safe(text))


def line(text: str = "") -> None:
    """A line of the answer, to stdout."""
    _write(sys.stdout, safe(text))


def problem(found: Problem) -> None:
    """A problem to stderr, `error:` and the caret in red on a terminal."""
    text = safe(found.render())
    if coloured(sys.stderr):
        text = re.sub(r"(^|: )error: ", "\\1\x1b[1;31merror:\x1b[0m ", text, count=1)
        text = re.sub(r"^( *)(\^+)$", "\\1\x1b[31m\\2\x1b[0m", text, flags=re.MULTILINE)
    _write(sys.stderr, text)


def safe(text: str) -> str:
    """Text from files and arguments without control characters, which a terminal would obey."""
    return _CONTROL.sub("\ufffd", text)


def coloured(stream: IO[str]) -> bool:
    """Whether to colour: only a terminal, and not where NO_COLOR is set or the terminal is dumb."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def console() -> Console:
    """A rich console on stdout."""
    from rich.console import Console

    wide = shutil.get_terminal_size((_WIDE, 0)).columns
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else wide, highlight=False, soft_wrap=False)


def show(*tables: Any) -> None:
    """Tables to stdout."""
    out = console()
    for table in tables:
        out.print(table)


def table(*columns: str, title: str = "", left: int = 1) -> Any:
    """An empty table with the first `left` columns left-aligned, in the look of the reports."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(title) if title else None, box=box.SIMPLE_HEAD, title_justify="left")
    for at, name in enumerate(columns):
        made.add_column(Text(name), justify="left" if at < left else "right", overflow="fold")
    return made


def row(made: Any, *cells: Any, style: str | None = None) -> None:
    """Add a row of plain text, which rich does not read as markup."""
    from rich.text import Text

    made.add_row(*(Text(safe(str(cell))) for cell in cells), style=style)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """A plain table to stdout, as quick for ten thousand rows as for ten; the first `left` columns left-aligned."""
    if not rows:
        return
    widths = [max(map(len, cells)) for cells in zip(head, *rows, strict=True)]
    form = "  ".join(f"{{:{'<' if at < left else '>'}{wide}}}" for at, wide in enumerate(widths))
    under = ["-" * wide for wide in widths]
    line("\n".join(form.format(*cells).rstrip() for cells in (head, under, *rows)))


def _write(stream: IO[str], text: str) -> None:
    stream.write(f"{text}\n")
    stream.flush()
