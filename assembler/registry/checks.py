"""Given arguments held against a signature: unknown ones, wrong types, missing ones, each as a problem."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from assembler.errors import Problem, Span, near
from assembler.registry.entry import Entry

SpanOf = Callable[[str], Span | None]


def problems(
    entry: Entry, given: Mapping[str, Any], span_of: SpanOf, *, span: Span | None = None, path: str = ""
) -> Iterator[Problem]:
    """What is wrong with `given` as arguments of `entry`; `span_of` tells where an argument is written."""
    what = f"{entry.kind} '{entry.name}'"
    for name, value in given.items():
        param = entry.param(name)
        place = span_of(name) or span
        if param is None:
            known = entry.arguments
            hint = near(name, known) or (f"it takes {', '.join(known)}" if known else "it takes no arguments")
            yield Problem(f"{what} has no argument '{name}'", place, "" if place else path, hint)
        elif not param.type.accepts(value):
            text = f"'{name}' of {what} must be {param.type.describe()}, not {said(value)}"
            yield Problem(text, place, "" if place else path)
    for param in entry.params:
        if param.required and param.name not in given and param.argument not in given:
            key = {"op": "op", "phase": "phase"}.get(entry.kind, "name")
            hint = f"for instance {{{key}: {entry.name}, {param.name}: ...}}"
            yield Problem(f"{what} needs '{param.name}'", span, "" if span else path, hint)


def said(value: Any) -> str:
    """A value as a message quotes it, shortened."""
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
