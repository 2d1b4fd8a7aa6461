"""A registered thing as Python and recipes ask for it: its name, or a mapping of its name and options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assembler.errors import InputError
from assembler.registry.catalog import lookup, names
from assembler.registry.checks import problems
from assembler.registry.entry import Entry


def wanted(kind: str, said: str | Mapping[str, Any]) -> tuple[Entry, dict[str, Any]]:
    """The entry of `kind` that `said` names, and its options: `"grid"`, or `{"name": "grid", "steps": 3}`.

    Raises AssemblerError for an unknown name, and InputError for options that it does not take.
    """
    options = {"name": said} if isinstance(said, str) else dict(said)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise InputError(f"a {kind} needs a 'name'", hint=f"for instance {{name: {names(kind)[0]}}}")
    entry = lookup(kind, name)
    if wrong := list(problems(entry, options, lambda _: None)):
        raise InputError(wrong)
    return entry, options
