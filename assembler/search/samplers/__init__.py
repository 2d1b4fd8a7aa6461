"""Samplers: one file each, known by name; none is imported before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from assembler import registry
from assembler.errors import InputError
from assembler.recipe.choices import Space
from assembler.search.samplers.base import Sampler, SearchSpec, Values

__all__ = ["Sampler", "SearchSpec", "Values", "left_out", "make"]


def make(wanted: str | Mapping[str, Any], spec: SearchSpec) -> Sampler:
    """A sampler by name, or by a mapping of its name and options: `{"name": "optuna", "algorithm": "nsgaii"}`.

    Raises AssemblerError for an unknown name, and InputError for an option that it does not take or for several
    objectives where it follows one.
    """
    entry, options = registry.wanted("sampler", wanted)
    kind: type[Sampler] = entry.load()
    if spec.objectives > 1 and not kind.multi:
        said = f"sampler '{entry.name}' follows one objective, not {spec.objectives}"
        raise InputError(said, hint=f"those that follow several are {_several()}")
    return kind(spec if kind.moves else _unmoved(entry.name, spec), **options)


def left_out(wanted: str | Mapping[str, Any], space: Space) -> str:
    """That a sampler makes no moves, where the space has some; "" otherwise. One around another is as that one."""
    entry, options = registry.wanted("sampler", wanted)
    if (inner := entry.param("of")) is not None:
        return left_out(options.get("of", inner.default), space)
    return (
        f"sampler '{entry.name}' makes no moves: 'moves' is left out" if space.moves and not entry.load().moves else ""
    )


def _several() -> str:
    """The samplers of the package that follow several objectives, but those that go by the one inside them."""
    found = [registry.lookup("sampler", name) for name in registry.names("sampler")]
    own = [one for one in found if one.module.startswith(__name__) and one.param("of") is None]
    return ", ".join(one.name for one in own if one.load().multi)


def _unmoved(name: str, spec: SearchSpec) -> SearchSpec:
    """The spec for a sampler that makes no moves."""
    if spec.space.moves is None:
        return spec
    if len(spec.space.decisions) == 1:
        said = f"sampler '{name}' makes no moves, and this space has nothing else"
        raise InputError(said, hint="use evolution, or give the space choices")
    return replace(spec, space=spec.space.unmoved)
