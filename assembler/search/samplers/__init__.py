"""Samplers: one file each, known by name; none is imported before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assembler.errors import InputError, near
from assembler.recipe.choices import Space
from assembler.registry import lookup
from assembler.search.exact import Additive
from assembler.search.samplers.base import Sampler

__all__ = ["Sampler", "make"]

_GIVEN = ("space", "seed", "additive")


def make(wanted: str | Mapping[str, Any], space: Space, *, seed: int = 0, additive: Additive | None = None) -> Sampler:
    """A sampler by name, or by a mapping of its name and options: `{"name": "optuna", "algorithm": "nsgaii"}`.

    Raises AssemblerError for an unknown name and InputError for an option that it does not take.
    """
    options = {"name": wanted} if isinstance(wanted, str) else dict(wanted)
    if not isinstance(options.get("name"), str):
        raise InputError("a sampler needs a 'name'", hint="for instance {name: evolution, population_size: 50}")
    name = options.pop("name")
    entry = lookup("sampler", name)
    known = {p.name: p for p in entry.params if p.name not in _GIVEN}
    for option, value in options.items():
        if option not in known:
            listing = ", ".join(known) or "none"
            raise InputError(f"sampler '{name}' takes no '{option}'", hint=near(option, known) or f"options: {listing}")
        if not known[option].type.accepts(value):
            raise InputError(f"'{option}' of sampler '{name}' is {known[option].type.describe()}, not {value!r}")
    made: Sampler = entry.load()(space, seed=seed, additive=additive, **options)
    return made
