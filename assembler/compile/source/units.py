"""Containers and bodies that can be written as a class of their own, told apart by all but the numbers in them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from assembler.compile.source.forms import MODULES, Forms, kind_of
from assembler.compile.source.place import Place
from assembler.graph.core import SWITCH
from assembler.graph.shares import is_across, parts

MOST_INPUTS = 6


@dataclass(frozen=True, eq=False)
class Unit:
    """The steps of one container (`path`), or of a whole body (""), with what they read and what is read of them.

    Units of one `key` are computed by instances of one class, which differ in `leaves`. A unit that is `shared` uses
    the weights of the container of that path, which has the same key and leaves.
    """

    place: Place
    path: str
    ids: tuple[str, ...]
    inputs: tuple[str, ...]
    exports: tuple[str, ...]
    key: Hashable
    leaves: dict[str, tuple[tuple[Any, str], ...]]
    shared: str = ""

    def walk(self) -> Iterator[tuple[str, Place, str]]:
        """(address, place, id) of all steps, those of bodies too."""
        return self.place.walk(self.ids, self.path)

    def at(self, address: str) -> str:
        """The id of the step at an address without bodies."""
        return ".".join(filter(None, (self.path, address)))

    def address(self, i: str) -> str:
        """The inverse of `at`."""
        return i[len(self.path) + 1 :] if self.path else i


@dataclass
class Units:
    """Finds the units of a model."""

    forms: Forms
    _found: dict[tuple[Place, str], Unit | None] = field(default_factory=dict)
    _spans: dict[Place, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    _orders: dict[Place, dict[str, int]] = field(default_factory=dict)
    _readers: dict[Place, dict[str, list[str]]] = field(default_factory=dict)

    def all(self, place: Place) -> Iterator[Unit]:
        """The units of a place, the outer ones first, each followed by those of the bodies in it."""
        for path in self.spans(place):
            if unit := self.unit(place, path):
                yield unit
        for body in place.bodies.values():
            if not body.inline:
                yield self.whole(body)
            yield from self.all(body)

    def spans(self, place: Place) -> dict[str, tuple[str, ...]]:
        """The ids at and under every container path."""
        if place not in self._spans:
            found: dict[str, list[str]] = {}
            for i in place.graph.nodes:
                parts = i.split(".")
                for n in range(1, len(parts) + 1):
                    found.setdefault(".".join(parts[:n]), []).append(i)
            kept = sorted(((p, i) for p, i in found.items() if len(i) > 1 or _holds_body(place, p, i)), key=_depth)
            self._spans[place] = {path: tuple(ids) for path, ids in kept}
        return self._spans[place]

    def whole(self, place: Place) -> Unit:
        """The unit of a graph or body that a class of its own computes."""
        if (place, "") not in self._found:
            self._found[place, ""] = self._whole(place)
        found = self._found[place, ""]
        assert found is not None
        return found

    def _whole(self, place: Place) -> Unit:
        ids = tuple(place.graph.nodes)
        inputs = place.graph.input_names
        key, leaves = self._key(place, ids, "", inputs)
        exports = tuple(dict.fromkeys(i for _, i in place.graph.outputs))
        return Unit(place, "", ids, inputs, exports, ("body", key, place.graph.outputs, inputs), leaves)

    def unit(self, place: Place, path: str) -> Unit | None:
        """The unit of the container at `path`, or None where it cannot be a class."""
        if path not in self.spans(place):
            return None
        if (place, path) not in self._found:
            self._found[place, path] = None  # while the container that it shares is looked at
            self._found[place, path] = self._made(place, path)
        return self._found[place, path]

    def _made(self, place: Place, path: str) -> Unit | None:
        ids = self.spans(place)[path]
        if not self._fits(place, path, ids) or not self._closed(place, ids):
            return None
        inside = set(ids)
        shared = self._shared(place, path, ids)
        if shared is None:
            return None
        inputs = tuple(dict.fromkeys(s for i in ids for s in place.node(i).sources if s not in inside))
        exports = tuple(i for i in ids if any(r not in inside for r in self.readers(place, i)))
        if not exports or len(inputs) > MOST_INPUTS:
            return None
        key, leaves = self._key(place, ids, path, inputs)
        if shared:
            owner = self.unit(place, shared)
            if owner is None or owner.shared or (owner.key, owner.leaves) != (key, leaves):
                return None
        return Unit(place, path, ids, inputs, exports, key, leaves, shared)

    def _fits(self, place: Place, path: str, ids: tuple[str, ...]) -> bool:
        """Whether the steps stand together, in one mode, and have modules that the container can hold."""
        if self._order(place)[ids[-1]] - self._order(place)[ids[0]] + 1 != len(ids):
            return False
        if len({place.mode(i) for i in ids}) > 1:
            return False
        kinds = {i: kind_of(place.node(i)) for i in ids}
        below = {i[len(path) + 1 :].split(".")[0] for i in ids if i != path}
        if kinds.get(path) in MODULES or any(name.isdecimal() for name in below):
            return False
        modules = [i for i, kind in kinds.items() if kind in MODULES]
        return bool(modules) and SWITCH not in kinds.values()

    def _closed(self, place: Place, ids: tuple[str, ...]) -> bool:
        """Whether what bodies share, and what is shared in bodies, lies within these steps."""
        for address, where, i in place.walk(ids):
            owner = where.node(i).owner
            up, (first, *_) = parts(owner)
            out = up - address.count("/")
            if is_across(owner) and (out > 0 or (out == 0 and first not in ids)):
                return False
        return True

    def _shared(self, place: Place, path: str, ids: tuple[str, ...]) -> str | None:
        """The container whose weights all steps use, "" where they have their own, None where neither is so."""
        homes: set[str | None] = set()
        for i in ids:
            owner = self.forms.owner(place, i) if kind_of(place.node(i)) in MODULES else ""
            if is_across(owner) or (owner in ids and self.forms.has_weights(place, i)):
                homes.add("")
            elif owner and owner not in ids:
                rest = i[len(path) :]
                homes.add(owner.removesuffix(rest) if owner.endswith(rest) else None)
        return homes.pop() if len(homes) == 1 else None if homes else ""

    def _order(self, place: Place) -> dict[str, int]:
        if place not in self._orders:
            self._orders[place] = {i: n for n, i in enumerate(place.graph.nodes)}
        return self._orders[place]

    def readers(self, place: Place, i: str) -> list[str]:
        """The steps that read a value; "" for the outputs of the graph."""
        if place not in self._readers:
            found: dict[str, list[str]] = {end: [""] for _, end in place.graph.outputs}
            for j, node in place.graph:
                for source in node.sources:
                    found.setdefault(source, []).append(j)
            self._readers[place] = found
        return self._readers[place].get(i, [])

    def _key(
        self, place: Place, ids: tuple[str, ...], base: str, inputs: tuple[str, ...]
    ) -> tuple[Hashable, dict[str, tuple[tuple[Any, str], ...]]]:
        steps: list[Hashable] = []
        leaves = {}
        outer = {s: n for n, s in enumerate(inputs)}
        for address, where, i in place.walk(ids, base):
            node, form = where.node(i), self.forms.form(where, i)
            leaves[address] = form.leaves
            if where is place:
                edges = tuple(
                    (p, outer[s] if s in outer else s[len(base) + 1 :] if base else s) for p, s in node.inputs
                )
                mode = "" if base else place.mode(i)
                owner = self.forms.owner(place, i) if form.kind in MODULES else i
                near = owner in ids or is_across(owner)
                own = owner[len(base) + 1 :] if base and near else address if base else owner
            else:
                edges, mode, own = node.inputs, where.mode(i), self.forms.owner(where, i) if node.owner else ""
            body = where.bodies[i].graph if i in where.bodies else None
            ends = (body.outputs, body.input_names) if body else ()
            names = where.outputs(i)
            steps.append((address, form.kind, form.text, edges, mode, own, ends, names, len(form.leaves)))
        return tuple(steps), leaves


def _holds_body(place: Place, path: str, ids: list[str]) -> bool:
    return ids != [path] and any(i in place.bodies for i in ids)


def _depth(item: tuple[str, list[str]]) -> int:
    return item[0].count(".")
