"""Pruners: what ends a trial early, one file each, known by name; none is imported before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assembler.errors import InputError, near
from assembler.registry import lookup
from assembler.search.pruners.base import Point, Pruner, PruneSpec

__all__ = ["Point", "PruneSpec", "Pruner", "make"]


def make(wanted: str | Mapping[str, Any], spec: PruneSpec) -> Pruner:
    """A pruner by name, or by a mapping of its name and options: `{"name": "median", "warmup": 2}`.

    Raises AssemblerError for an unknown name, and InputError for an option that it does not take or for several
    objectives where it follows one.
    """
    options = {"name": wanted} if isinstance(wanted, str) else dict(wanted)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise InputError("a pruner needs a 'name'", hint="for instance {name: median, startup: 5}")
    entry = lookup("pruner", name)
    known = {p.name: p for p in entry.params}
    for option, value in options.items():
        if option not in known:
            listing = ", ".join(known) or "none"
            raise InputError(f"pruner '{name}' takes no '{option}'", hint=near(option, known) or f"options: {listing}")
        if not known[option].type.accepts(value):
            raise InputError(f"'{option}' of pruner '{name}' is {known[option].type.describe()}, not {value!r}")
    kind: type[Pruner] = entry.load()
    if spec.objectives > 1 and not kind.multi:
        raise InputError(f"pruner '{name}' follows one objective, not {spec.objectives}", hint="use dominance")
    return kind(spec, **options)
