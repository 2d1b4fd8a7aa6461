"""Pruners: what ends a trial early, one file each, known by name; none is imported before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assembler import registry
from assembler.errors import InputError
from assembler.search.pruners.base import Point, Pruner, PruneSpec

__all__ = ["Point", "PruneSpec", "Pruner", "make"]


def make(wanted: str | Mapping[str, Any], spec: PruneSpec) -> Pruner:
    """A pruner by name, or by a mapping of its name and options: `{"name": "median", "warmup": 2}`.

    Raises AssemblerError for an unknown name, and InputError for an option that it does not take or for several
    objectives where it follows one.
    """
    entry, options = registry.wanted("pruner", wanted)
    kind: type[Pruner] = entry.load()
    if spec.objectives > 1 and not kind.multi:
        raise InputError(f"pruner '{entry.name}' follows one objective, not {spec.objectives}", hint="use dominance")
    return kind(spec, **options)
