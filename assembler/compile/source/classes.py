"""Which units become classes, what those are called, and which of their numbers are arguments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from assembler.compile.literal import Leaf, plain
from assembler.compile.source.place import Place
from assembler.compile.source.units import Unit, Units

MOST_ARGUMENTS = 12
WIDTHS = {"in_channels", "out_channels", "in_features", "out_features", "num_features", "num_channels"}
WIDTHS |= {"channels", "features", "normalized_shape", "embedding_dim", "embed_dim", "out", "shape", "shapes"}
"""What ops call the width of what they read or make; an argument that fills several of them is a `width`."""
MOST_LINES = 24
"""From so many lines on, a forward hands containers of it to classes of their own."""
LEAST_LINES = 4
LETTERS = "HWNMKLPQRSTUVXYZ"


@dataclass
class Class:
    """One class of the file: the first of its units stands for all.

    `arguments` are names and the (address, number of the leaf) that tell their values; `named` says for every leaf that
    differs between the units which argument it is, times what. `stored` are the arguments that forward reads.
    """

    name: str
    units: list[Unit]
    arguments: dict[str, tuple[str, int]] = field(default_factory=dict)
    named: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    exports: tuple[str, ...] = ()
    stored: dict[str, str] = field(default_factory=dict)
    sizes: dict[tuple[int, ...], str] = field(default_factory=dict)

    @property
    def unit(self) -> Unit:
        """The unit that is written out."""
        return self.units[0]

    def writer(self, address: str, *, forward: bool = False) -> Leaf:
        """Writes the leaves of the step at `address` one after another: their argument, or themselves."""
        count = iter(range(1 << 30))

        def leaf(value: Any, called: str) -> str:
            found = self.named.get((address, next(count)))
            return plain(value) if found is None else self.argument(found, forward=forward)

        return leaf

    def argument(self, found: tuple[int, str], *, forward: bool = False) -> str:
        """An argument times a number, as `__init__` or forward knows it."""
        times, name = found
        if forward:
            name = f"self.{self.stored.setdefault(name, name)}"
        return name if times == 1 else f"-{name}" if times == -1 else f"{times} * {name}"

    def values(self, name: str) -> tuple[Any, ...]:
        """An argument's value in every unit."""
        address, n = self.arguments[name]
        return tuple(unit.leaves[address][n][0] for unit in self.units)

    def size(self, sizes: tuple[int, ...]) -> str:
        """An axis by its size in every unit: a number, an argument, or a letter."""
        if len(set(sizes)) == 1:
            return str(sizes[0])
        if sizes not in self.sizes:
            self.sizes[sizes] = self._size(sizes)
        return self.sizes[sizes]

    def _size(self, sizes: tuple[int, ...]) -> str:
        for name in self.arguments:
            times = multiple(sizes, self.values(name))
            if times:
                return self.argument((times, name))
        return next(c for c in LETTERS if c not in self.sizes.values())


def multiple(values: tuple[Any, ...], of: tuple[Any, ...]) -> int:
    """The whole number that `values` are times `of`, 0 if there is none.

    >>> multiple((8, 16), (2, 4)), multiple((-1, 0), (1, 0)), multiple((1, 2), (2, 4))
    (4, -1, 0)
    """
    if [(type(v), v) for v in values] == [(type(v), v) for v in of]:
        return 1
    if not all(type(v) is int for v in (*values, *of)):
        return 0
    times = next((v // o for v, o in zip(values, of, strict=True) if o), 0)
    return times if all(v == times * o for v, o in zip(values, of, strict=True)) else 0


@dataclass
class Classes:
    """The classes of a model, by the key of their units."""

    units: Units
    taken: set[str]
    by_key: dict[Hashable, Class] = field(default_factory=dict)
    known: dict[Hashable, list[Unit]] = field(default_factory=dict)

    def choose(self, place: Place) -> None:
        """Make a class of all that is there twice or more, the larger first, and of every body that needs one."""
        for unit in self.units.all(place):
            self.known.setdefault(unit.key, []).append(unit)
        for units in sorted(self.known.values(), key=lambda units: -sum(1 for _ in units[0].walk())):
            seen = [u for u in units if not self.hidden(u)]
            first = next((u for u in seen if not u.shared), None)
            if first and (len(seen) > 1 or not first.path):
                self._add(first)

    def split(self, lines: Callable[[Unit], list[tuple[Place, str]]], main: Unit) -> None:
        """Make classes of containers in forwards that are long; `lines` are the paths of what a forward calls."""
        waiting = [main, *(made.unit for made in self.by_key.values())]
        while waiting:
            unit = waiting.pop()
            while len(paths := lines(unit)) > MOST_LINES:
                found = self._largest(unit, paths)
                if found is None or not self._add(found):
                    break
                waiting.append(found)

    def _largest(self, unit: Unit, paths: list[tuple[Place, str]]) -> Unit | None:
        """The outermost of the containers that take many lines of a unit's forward, the one that takes most."""
        counts: Counter[tuple[Place, str]] = Counter()
        for place, path in paths:
            parts = path.split(".")
            first = len(unit.path.split(".")) + 1 if unit.path and place is unit.place else 1
            counts.update((place, ".".join(parts[:n])) for n in range(first, len(parts)))
        found = [
            (u, n) for (place, path), n in counts.items() if n >= LEAST_LINES and (u := self.units.unit(place, path))
        ]
        free = [(u, n) for u, n in found if not u.shared and u.key not in self.by_key and len(u.ids) < len(unit.ids)]
        return max(free, key=lambda pair: (-pair[0].path.count("."), pair[1]), default=(None, 0))[0]

    def of(self, place: Place, path: str) -> tuple[Class, Unit] | None:
        """The class and the unit of a container, or of a whole body (path "")."""
        unit = self.units.unit(place, path) if path else self.units.whole(place)
        found = self.by_key.get(unit.key) if unit else None
        return (found, unit) if found and unit else None

    def hidden(self, unit: Unit) -> bool:
        """Whether it lies in a copy of what is written out once."""
        for place, path in _around(unit.place, unit.path):
            found = self.of(place, path)
            if found and (found[0].unit.place, found[0].unit.path) != (place, path):
                return True
        return False

    def _add(self, first: Unit) -> bool:
        """Make a class of a unit and all that are alike, unless it had too many arguments."""
        key, units = first.key, [first, *(u for u in self.known[first.key] if u is not first)]
        made = Class("", units)
        _name_arguments(made)
        if len(made.arguments) > MOST_ARGUMENTS and units[0].path:
            return False
        outside = {unit.address(i) for unit in units for i in unit.exports}
        made.exports = tuple(a for a, _, i in units[0].walk() if a in outside)
        made.name = self._name(units[0])
        self.by_key[key] = made
        return True

    def _name(self, unit: Unit) -> str:
        path = unit.path or f"{unit.place.step}.body"
        words = [w for w in path.split(".") if not w.isdecimal()]
        chosen = words[-1:] if unit.path else words[-2:]
        name = "".join(part[:1].upper() + part[1:] for word in chosen or ["block"] for part in word.split("_"))
        name = re.sub(r"\d+$", "", name) or "Block"
        return free(name if name[0].isalpha() else f"Block{name}", self.taken, "Block")


def free(name: str, taken: set[str], suffix: str = "") -> str:
    """A name that is not taken: itself, with the suffix, or with a number; it is taken then."""
    tries = [name, *([f"{name}{suffix}"] if suffix else []), *(f"{name}{n}" for n in range(2, len(taken) + 3))]
    found = next(t for t in tries if t not in taken)
    taken.add(found)
    return found


def _around(place: Place, path: str) -> Iterator[tuple[Place, str]]:
    """The containers and bodies that a container lies in, from the inside out."""
    while True:
        parts = path.split(".") if path else []
        for n in range(len(parts) - 1, 0, -1):
            yield place, ".".join(parts[:n])
        if place.parent is None:
            return
        if path and not place.inline:
            yield place, ""
        path = f"{place.step}.body"  # the step itself is a container like those above it
        place = place.parent


def _name_arguments(made: Class) -> None:
    """Make arguments of the leaves that differ between the units: equal ones are one, multiples are written as such."""
    groups: dict[tuple[Any, ...], list[tuple[str, int]]] = {}
    kinds: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for address, leaves in made.unit.leaves.items():
        for n in range(len(leaves)):
            values = tuple(unit.leaves[address][n][0] for unit in made.units)
            key = tuple((type(v), repr(v)) for v in values)
            if len(set(key)) > 1:
                groups.setdefault(key, []).append((address, n))
                kinds[key] = values
    taken = _taken(made)
    for key, places in groups.items():
        base = next(((t, a) for a in made.arguments if (t := multiple(kinds[key], made.values(a)))), None)
        if base is None:
            name = free(_called(made, places), taken)
            made.arguments[name] = places[0]
            base = (1, name)
        made.named |= dict.fromkeys(places, base)


def _taken(made: Class) -> set[str]:
    below = {address.split(".")[0].split("/")[0] for address, _, _ in made.unit.walk()}
    return {*below, *dir(nn.Module()), "self"}


def _called(made: Class, places: Iterable[tuple[str, int]]) -> str:
    leaves = made.unit.leaves
    names = Counter(leaves[address][n][1] for address, n in places)
    if len(names) > 1 and names.keys() <= WIDTHS:
        return "width"
    found = next(iter(names))
    if found in ("shapes", "shape"):
        return "size"
    address = next(iter(places))[0].split("/")[-1]
    words = [w for w in address.split(".") if w and not w.isdecimal()]
    if len(found) < 2:
        found = f"{words[-1]}_{found}".strip("_") if found and words else words[-1] if words else "value"
    return found if found.isidentifier() else "value"
