"""What is wrong with the values of a sampler's or pruner's options, told by making one; without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from assembler import registry
from assembler.errors import AssemblerError, Problem, placed
from assembler.pipeline.checking.given import registered
from assembler.recipe.choices import Decision, Space
from assembler.recipe.values import Map, Value, plain

Make = Callable[[Mapping[str, Any]], object]
_INSIDE = ("of", "inner", "outer")
"""Options of samplers that are samplers."""


def sampler(value: Value, space: Space, objectives: int, *, parts: bool = False) -> Iterator[Problem]:
    """What is wrong with the sampler of a search of a space, or of the parts in a run's slots."""
    plainly = not isinstance(value, Map) and objectives == 1 and (parts or space.moves is None)
    plainly = plainly and (parts or plain(value) != "exact")  # which needs parts
    if plainly:  # nothing is said that could be wrong
        yield from registered("sampler", value, "name")
        return
    from assembler.search.exact import Additive  # what a recipe does not have is not imported
    from assembler.search.samplers import SearchSpec, make

    spec = SearchSpec(space, 0, objectives)
    if parts:
        slot = Decision("slot", "oneof", ("one", "other"))
        spec = SearchSpec(Space((slot,)), 0, objectives, additive=Additive({"slot": (0.0, 0.0)}))
    yield from _made("sampler", value, lambda said: make(said, spec))


def pruner(value: Value) -> Iterator[Problem]:
    """What is wrong with a pruner, whatever the objectives."""
    if not isinstance(value, Map):
        yield from registered("pruner", value, "name")
        return
    from assembler.search.pruners import PruneSpec, make  # as above

    yield from _made("pruner", value, lambda said: make(said, PruneSpec()))


def _made(kind: str, value: Value, make: Make) -> Iterator[Problem]:
    """The problems of `name` or `{name: ..., options}`: each option's at its place, then those of all together."""
    options = value.drop("name") if isinstance(value, Map) else Map()
    found = list(registered(kind, value, "name"))
    if not found and kind == "sampler":
        found = [p for name in _INSIDE if name in options for p in _made(kind, options.get(name), make)]
    if found:
        yield from found
        return
    said = plain(value) if isinstance(value, Map) else {"name": plain(value)}
    needed = [p.name for p in registry.lookup(kind, said["name"]).params if p.required]
    least = {key: one for key, one in said.items() if key in ("name", *needed, *_INSIDE)}
    if found := _raised(least, make, options.get(needed[0]) if needed else value):
        yield from found
        return
    for name, given in options:
        found += _raised({**least, name: said[name]}, make, given)
    yield from found or _raised(said, make, value)


def _raised(said: Mapping[str, Any], make: Make, at: Value) -> list[Problem]:
    try:
        make(said)
    except AssemblerError as error:
        return list(error.at(at.span).problems)
    except Exception as error:  # a plug-in's
        return [Problem(f"'{said['name']}' cannot be made: {placed(error)}", at.span)]
    return []
