"""From a choice straight to the pieces of its graph, where the model is a chain of steps and they were all met before.

What a step at the top of a recipe depends on is read off the recipe: the decisions in its own words, those in the vars
that its words (and the blocks') mention, what its loop says, and the numbers of its copies where `t` is mentioned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.recipe.choices import Pick
from assembler.recipe.decided import Spot
from assembler.recipe.expressions import is_expression, parse
from assembler.recipe.unrolled import Counts, Unit
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice
from assembler.wiring.pieces import Part, Piece

_LOOPS = ("for", "repeat")
Picks = tuple[tuple[Pick | None, ...], tuple[type, ...]]


@dataclass(slots=True)
class _Top:
    """A step at the top: the decisions that it depends on, by copy that is spoken of alone, and if it mentions `t`."""

    names: dict[str, tuple[str, ...]]
    others: tuple[str, ...]
    t: bool

    def of(self, copy: str) -> tuple[str, ...]:
        return self.names.get(copy, self.others)


@dataclass(slots=True)
class Lanes:
    """What was met: the units of a recipe by the decisions on its loops, their copies and pieces by what they read."""

    tops: dict[str, _Top]
    loops: tuple[str, ...]
    units: dict[Picks, tuple[Unit, ...]] = field(default_factory=dict)
    counts: dict[Any, Counts] = field(default_factory=dict)
    pieces: dict[Any, Piece] = field(default_factory=dict)

    def find(self, choice: Mapping[str, Pick], start: str) -> list[Piece] | None:
        """The pieces of a choice's graph, in order, behind the input `start`; None where one was not met yet."""
        units = self.units.get(_picks(choice, self.loops))
        if units is None:
            return None
        keys = [self._key(unit, choice) for unit in units]
        counts = [self.counts.get(key) for key in keys]
        if None in counts:
            return None
        pieces, at = list[Piece](), start
        for key in self._placed(units, keys, counts):  # type: ignore[arg-type]
            piece = self.pieces.get((*key, at))
            if piece is None:
                return None
            pieces.append(piece)
            at = piece.last
        return pieces

    def keep(self, choice: Mapping[str, Pick], units: Sequence[Unit], parts: Sequence[Part], graph: Graph) -> None:
        """Keep what a graph was put together from, if that is a chain of pieces, one a unit."""
        at = graph.input_names[0] if len(graph.inputs) == 1 and len(parts) == len(units) and not graph.only else ""
        pieces = list[Piece]()
        for part in parts:
            if not isinstance(part, Piece) or part.current != at or part.spare:
                return
            pieces.append(part)
            at = part.last
        if not at or [p.step.path for p in pieces] != [u.path for u in units]:
            return
        self.units[_picks(choice, self.loops)] = tuple(units)
        keys = [self._key(unit, choice) for unit in units]
        self.counts.update((key, unit.counts) for key, unit in zip(keys, units, strict=True))
        for key, piece in zip(self._placed(units, keys, [u.counts for u in units]), pieces, strict=True):
            self.pieces[(*key, piece.current)] = piece

    def _key(self, unit: Unit, choice: Mapping[str, Pick]) -> tuple[Any, ...]:
        top, _, copy = unit.path.partition(".")
        return unit.path, unit.loop, _picks(choice, self.tops[top].of(copy))

    def _placed(
        self, units: Sequence[Unit], keys: Iterable[tuple[Any, ...]], counts: Sequence[Counts]
    ) -> Iterable[tuple[Any, ...]]:
        """The keys with how many copies there are before each unit, and altogether, where it reads `t`."""
        total: dict[str, int] = {}
        before = []
        for unit, (inside, _) in zip(units, counts, strict=True):
            if unit.template:
                total[unit.template] = total.get(unit.template, 0) + 1
            before.append([total.get(template, 0) for template in (unit.template, *inside)])
            for template, count in inside.items():
                total[template] = total.get(template, 0) + count
        for unit, key, (inside, _), first in zip(units, keys, counts, before, strict=True):
            if self.tops[unit.path.partition(".")[0]].t:
                yield *key, tuple(first), tuple([total.get(template, 0) for template in (unit.template, *inside)])
            else:
                yield key


def lanes(model: Map, root: Spot) -> Lanes | None:
    """Lanes for a model; None where its steps do not simply follow one another, or other parts of it have decisions."""
    parts = dict(zip(model.keys(), root.inside, strict=True))
    steps, variables = parts.pop("graph"), parts.pop("vars", None)
    plain = not any(spot.names for spot in parts.values()) and "initializers" not in model
    whole = is_choice(steps.value) or (variables is not None and is_choice(variables.value))
    if not plain or whole or len(model.get("inputs", Map())) != 1:
        return None
    try:
        return _lanes(_children(steps), _Vars(_children(variables) if variables else {}), model)
    except RecipeError:  # of which whoever builds the recipe tells
        return None


def _lanes(steps: Mapping[str, Spot], known: _Vars, model: Map) -> Lanes | None:
    around = _mentioned(model.get("blocks", Map()))
    if known.decisions(_mentioned(model.get("inputs", Map()))):
        return None
    tops, loops = dict[str, _Top](), dict[str, None]()
    for name, spot in steps.items():
        if _says(spot.value, "from"):
            return None
        tops[name] = _top(spot, known, around)
        inner = _children(spot)
        for said in [spot] if is_choice(spot.value) else [inner[key] for key in _LOOPS if key in inner]:
            loops |= dict.fromkeys((*said.names, *known.decisions(_mentioned(said.value))))
    return Lanes(tops, tuple(loops))


@dataclass(frozen=True, slots=True)
class _Vars:
    """The vars of a model."""

    spots: Mapping[str, Spot]

    def decisions(self, names: Iterable[str]) -> dict[str, None]:
        """The decisions that the values of names depend on."""
        found, waiting, seen = dict[str, None](), list(names), set[str]()
        while waiting:
            name = waiting.pop()
            if name in self.spots and name not in seen:
                found |= dict.fromkeys(self.spots[name].names)
                waiting += _mentioned(self.spots[name].value)
                seen.add(name)
        return found


def _top(spot: Spot, known: _Vars, around: frozenset[str]) -> _Top:
    inner = _children(spot)
    alone = {key: part for key, part in inner.items() if key.isdigit()}
    if not inner:
        said = _mentioned(spot.value) | around
        return _Top({}, tuple(dict.fromkeys((*spot.names, *known.decisions(said)))), "t" in said)
    parts = [part for key, part in inner.items() if key not in alone and key not in _LOOPS]
    words = around.union(*[_mentioned(part.value) for part in (*parts, *alone.values())])
    names = dict.fromkeys([name for part in parts for name in part.names]) | known.decisions(words)
    own = {key: tuple(names | dict.fromkeys(part.names)) for key, part in alone.items()}
    return _Top(own, tuple(names), "t" in words)


def _children(spot: Spot) -> dict[str, Spot]:
    """The parts of a mapping that is no choice."""
    if not isinstance(spot.value, Map) or is_choice(spot.value):
        return {}
    return dict(zip(spot.value.keys(), spot.inside, strict=True))


def _mentioned(value: Value) -> frozenset[str]:
    """The names in all expressions of a value. Raises RecipeError for one that does not read."""
    if isinstance(value, Leaf):
        return parse(str(value.value), value.span).names if is_expression(value.value) else frozenset()
    parts = [v for _, v in value] if isinstance(value, Map) else list(value)
    return frozenset[str]().union(*map(_mentioned, parts))


def _says(value: Value, key: str) -> bool:
    """Whether a step, or a candidate for one, has this key itself."""
    if isinstance(value, Seq):
        return any(_says(candidate, key) for candidate in value)
    if isinstance(value, Map) and is_choice(value):
        return any(_says(body, key) for _, body in value)
    return isinstance(value, Map) and (key in value or ("op" in value and _says(value.get("op"), key)))


def _picks(choice: Mapping[str, Pick], names: tuple[str, ...]) -> Picks:
    picks = tuple([choice.get(name) for name in names])
    return picks, tuple(map(type, picks))
