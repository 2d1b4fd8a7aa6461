"""Given arguments held against a signature: unknown ones, wrong types, missing ones, each as a problem."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from assembler.errors import Problem, Span, near
from assembler.registry.entry import Entry

SpanOf = Callable[[str], Span | None]


_WORDS = {
    "phase": "option",
    "rewrite": "option",
    "sampler": "option",
    "pruner": "option",
    "proxy": "option",
    "merge": "option",
    "train": "setting",
    "training": "setting",
    "turn": "setting",
    "search": "setting",
    "screen": "setting",
    "supernet": "setting",
}
_KEYS = {"op": "op", "phase": "phase", "loss": "loss", "rewrite": "rewrite", "check": "check"}


def problems(
    entry: Entry,
    given: Mapping[str, Any],
    key_span: SpanOf,
    value_span: SpanOf | None = None,
    *,
    span: Span | None = None,
    path: str = "",
    written: Container[str] = (),
) -> Iterator[Problem]:
    """What is wrong with `given` as arguments of `entry`.

    `key_span` and `value_span` tell where an argument's name and value are written, `span` where the thing itself is.
    Arguments that are `written` but not in `given` have a value that could not be told, and are not missing.
    """
    what = f"{entry.kind} '{entry.name}'" if entry.name else f"'{entry.kind}'"
    for name, value in given.items():
        param = entry.param(name)
        if param is None:
            place = key_span(name) or span
            message = f"{what} has no {_WORDS.get(entry.kind, 'argument')} '{name}'"
            yield Problem(message, place, "" if place else path, _nearest(entry, name))
        elif not param.type.accepts(value):
            place = (value_span or key_span)(name) or span
            text = f"'{name}' of {what} must be {param.type.describe()}, not {shown(value)}"
            # `/` gives a float even where it comes out even.
            whole = isinstance(value, float) and value.is_integer() and param.type.accepts(int(value))
            hint = f"write {int(value)}, or // in an expression" if whole else param.type.nearest(value)
            yield Problem(text, place, "" if place else path, hint)
    for param in entry.params:
        if param.required and not any(n in given or n in written for n in (param.name, param.argument)):
            key = f"{_KEYS.get(entry.kind, 'name')}: {entry.name}, " if entry.name else ""
            hint = f"for instance {{{key}{param.name}: ...}}"
            yield Problem(f"{what} needs '{param.name}'", span, "" if span else path, hint)


def _nearest(entry: Entry, name: str) -> str:
    known = entry.arguments
    return near(name, known) or (f"it takes {', '.join(known)}" if known else "it takes no arguments")


def shown(value: Any) -> str:
    """A value as a message quotes it, in YAML's words, shortened."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple | dict) or not isinstance(value, int | float | str):
        text = _flow(value)
    else:
        text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def _flow(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(shown(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {shown(v)}" for k, v in value.items()) + "}"
    return "a step"
