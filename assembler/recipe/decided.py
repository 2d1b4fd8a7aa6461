"""The recipes of many choices, each made of the values that choices before it had in common with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assembler.recipe.choices import Decision, Pick, Space
from assembler.recipe.choices.decide import decided
from assembler.recipe.paths import join
from assembler.recipe.values import Map, Seq, Value, is_choice

_MOST = 4096


class Decided:
    """Makes the decisions of choices in one recipe. A value whose decisions are made alike is the same object.

    `one` gives the object that stands for all values that say the same.
    """

    def __init__(self, tree: Map, space: Space, one: Callable[[Value], Value]) -> None:
        self.root = spot_of(tree, "", {d.name: d for d in space.decisions})
        self._one = one

    def tree(self, choice: Mapping[str, Pick]) -> Map:
        """The recipe with every decision in `choice` made; those that it does not mention stay open."""
        made = self.root.made(choice, self._one)
        assert isinstance(made, Map)
        return made


@dataclass(slots=True)
class Spot:
    """A value of the recipe at a path; `names` are the decisions in it, and it is kept if there are few ways."""

    value: Value
    path: str
    names: tuple[str, ...] = ()
    inside: tuple[Spot, ...] = ()
    few: bool = False
    kept: dict[Any, Value] = field(default_factory=dict)

    def made(self, choice: Mapping[str, Pick], one: Callable[[Value], Value]) -> Value:
        if not self.names:
            return self.value
        if not self.few:
            return self._decided(choice, one)
        picks = tuple([choice.get(name) for name in self.names])
        key = picks, tuple(map(type, picks))
        if key not in self.kept:
            self.kept[key] = one(self._decided(choice, one))
        return self.kept[key]

    def _decided(self, choice: Mapping[str, Pick], one: Callable[[Value], Value]) -> Value:
        if isinstance(self.value, Map) and not is_choice(self.value):
            return self.value.over(tuple([spot.made(choice, one) for spot in self.inside]))
        if isinstance(self.value, Seq):
            return Seq(tuple([spot.made(choice, one) for spot in self.inside]), self.value.span)
        return decided(self.value, self.path, choice)


def spot_of(value: Value, path: str, known: Mapping[str, Decision]) -> Spot:
    if is_choice(value):
        names = tuple(n for n in known if n == path or n.startswith((f"{path}[", f"{path}.")))
        return Spot(value, path, names, (), _few(names, known))
    inside: tuple[Spot, ...] = ()
    if isinstance(value, Map):
        inside = tuple(spot_of(v, join(path, key), known) for key, v in value)
    elif isinstance(value, Seq):
        inside = tuple(spot_of(v, join(path, str(n)), known) for n, v in enumerate(value))
    names = tuple(dict.fromkeys(name for spot in inside for name in spot.names))
    return Spot(value, path, names, inside, _few(names, known))


def _few(names: tuple[str, ...], known: Mapping[str, Decision]) -> bool:
    """Whether decisions can be made in few ways."""
    return math.prod(known[name].size or _MOST + 1 for name in names) <= _MOST
