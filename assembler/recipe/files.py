"""The text of recipe files, within bounds."""

from __future__ import annotations

import json
import os
from pathlib import Path

from assembler.errors import InputError, Problem, RecipeError, Span, near
from assembler.resources import CONFIG, GRAPH

MAX_BYTES = 4_000_000
MAX_GRAPH_BYTES = 64_000_000
"""For a graph as text, which nobody writes by hand: constants of a traced model stand in it."""


def graph_in(text: str, file: str) -> str:
    """The graph of an exported model's `config.json`."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise InputError(f"{file} is no JSON: {error}", hint="export the model again") from error
    if not isinstance(said, dict) or not isinstance(said.get("graph"), str):
        raise InputError(f"{file} holds no graph", hint="`assembler export` writes one, under 'graph'")
    return str(said["graph"])


def load_text(path: str | os.PathLike[str]) -> str:
    """The text of a recipe file, or of a graph's (`graph.txt`, `config.json`), which may be longer.

    Raises InputError if it cannot be read, RecipeError if it is too big or not UTF-8.
    """
    place, file = Path(path), str(path)
    most = MAX_GRAPH_BYTES if place.name == CONFIG or place.name.endswith(GRAPH) else MAX_BYTES
    try:
        if not place.exists():
            raise InputError(f"there is no file {file!r}", hint=_similar_file(place))
        if not place.is_file():
            raise InputError(f"{file!r} is not a file", hint="name one recipe file")
        with place.open("rb") as stream:
            data = stream.read(most + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {file!r}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > most:
        raise too_big(file, most)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(_not_utf8(data, error.start, file)) from error


def too_big(file: str, most: int = MAX_BYTES) -> RecipeError:
    """The error for a file of more than `most` bytes."""
    return RecipeError(f"{file} holds more than {most:,} bytes", hint="is it a recipe?")


def _similar_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {str(path.parent)!r}"
    return near(path.name, [entry.name for entry in list(path.parent.iterdir())[:1000]])


def _not_utf8(data: bytes, at: int, file: str) -> Problem:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Problem("the file is UTF-16", Span(file, 1, 1), hint="save it as UTF-8")
    start = data.rfind(b"\n", 0, at) + 1
    column = len(data[start:at].decode("utf-8")) + 1
    span = Span(file, data.count(b"\n", 0, at) + 1, column)
    return Problem(f"the byte 0x{data[at]:02x} is not UTF-8", span, hint="save the file as UTF-8")
