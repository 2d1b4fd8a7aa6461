"""What a forward calls, one after another: steps, and containers that are a class; and runs of them that are a loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assembler.compile.source.classes import Class, Classes
from assembler.compile.source.forms import MODULES, kind_of
from assembler.compile.source.place import Place
from assembler.compile.source.units import Unit
from assembler.graph.core import ITEM
from assembler.infer.make import call_arguments
from assembler.registry import lookup


@dataclass(frozen=True)
class Element:
    """A step, or a unit that a class computes; `target` is the path of the step or container whose module it is."""

    place: Place
    path: str
    target: str
    made: tuple[Class, Unit] | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """The steps in it."""
        return self.made[1].ids if self.made else (self.path,)

    @property
    def mode(self) -> str:
        """The one mode that needs it, or ""."""
        return self.place.mode(self.ids[0])

    @property
    def sources(self) -> tuple[str, ...]:
        """The ids that it is called with."""
        return self.made[1].inputs if self.made else self.place.node(self.path).sources

    @property
    def exports(self) -> tuple[str, ...]:
        """The ids that it makes."""
        return tuple(self.made[1].at(a) for a in self.made[0].exports) if self.made else (self.path,)


def elements(classes: Classes, place: Place, ids: Sequence[str], root: str = "") -> Iterator[Element]:
    """The elements of some steps, which lie in the container `root`."""
    done: set[str] = set()
    for i in ids:
        if i in done or place.node(i).op == ITEM:  # an item is written with what it is taken of
            continue
        found = _outermost(classes, place, i, root)
        if found:
            unit = found[1]
            done |= set(unit.ids)
            yield Element(place, unit.path, unit.shared or unit.path, found)
        else:
            module = kind_of(place.node(i)) in MODULES
            yield Element(place, i, classes.units.forms.owner(place, i) if module else i)


def lines_of(classes: Classes, place: Place, ids: Sequence[str], root: str = "") -> Iterator[tuple[Place, str]]:
    """(place, path) of what takes a line in the forward of some steps, in bodies that are written inline too."""
    for joined in runs(classes, list(elements(classes, place, ids, root))):
        element = joined if isinstance(joined, Element) else joined.elements[0]
        yield element.place, element.path
        body = element.place.bodies.get(element.path)
        if body and body.inline and not element.made:
            yield from lines_of(classes, body, tuple(body.graph.nodes))


def _outermost(classes: Classes, place: Place, i: str, root: str) -> tuple[Class, Unit] | None:
    parts = i.split(".")
    for n in range(len(root.split(".")) + 1 if root else 1, len(parts) + 1):
        found = classes.of(place, ".".join(parts[:n]))
        if found:
            return found
    return None


@dataclass(frozen=True)
class Run:
    """Elements that are one after another what the same code computes, each from the one before.

    `carried` says for each input which of the outputs of the element before it is, None for what is the same for all.
    """

    elements: tuple[Element, ...]
    carried: tuple[int | None, ...]

    @property
    def starts(self) -> tuple[str, ...]:
        """The ids of the values that the first one's carried inputs are."""
        pairs = zip(self.carried, self.elements[0].sources, strict=True)
        return tuple(s for c, s in pairs if c is not None)

    @property
    def repeats(self) -> bool:
        """Whether all are one and the same module."""
        return len({e.target for e in self.elements}) == 1


def runs(classes: Classes, given: Sequence[Element]) -> Iterator[Element | Run]:
    """The elements with the longest runs among them put together."""
    n = 0
    while n < len(given):
        found = _run(classes, given, n)
        yield found or given[n]
        n += len(found.elements) if found else 1


def _run(classes: Classes, given: Sequence[Element], start: int) -> Run | None:
    first = given[start]
    carried: tuple[int | None, ...] | None = None
    stop = start + 1
    while stop < len(given) and _alike(classes, first, given[stop - 1], given[stop], stop - start):
        before, after = given[stop - 1], given[stop]
        wired = _wired(before, after, carried)
        if wired is None or not _private(classes, before, after):
            break
        carried, stop = wired, stop + 1
    if carried is None or not _fed(first, carried):
        return None
    return Run(tuple(given[start:stop]), carried)


def _alike(classes: Classes, first: Element, before: Element, after: Element, n: int) -> bool:
    if _code(classes, first) is None or _code(classes, first) != _code(classes, after):
        return False
    container, number, inner = numbered(first.path)
    if not container or numbered(after.path) != (container, number + n, inner):
        return False
    same = after.target == before.target == first.target
    return same or all(e.target == e.path for e in (first, before, after))


def numbered(path: str) -> tuple[str, int, str]:
    """A path as a container, the last number in it, and the rest with a dot before it; the number is -1 without one.

    >>> numbered("stage.0.block.2.act")
    ('stage.0.block', 2, '.act')
    """
    parts = path.split(".")
    last = max((n for n, part in enumerate(parts) if part.isdecimal()), default=-1)
    if last < 0:
        return "", -1, path
    return ".".join(parts[:last]), int(parts[last]), "".join(f".{part}" for part in parts[last + 1 :])


def _code(classes: Classes, element: Element) -> object:
    """What is equal for elements that the same call computes; None for what stands alone."""
    if element.made:
        return element.made[0].name
    node, place = element.place.node(element.path), element.place
    if kind_of(node) != "module" or place.outputs(element.path) is not None or not node.sources:
        return None
    _, named = call_arguments(lookup("op", node.op), node, {s: s for s in node.sources})
    return None if named else classes.units.forms.form(place, element.path).text


def _wired(before: Element, after: Element, carried: tuple[int | None, ...] | None) -> tuple[int | None, ...] | None:
    made: list[int | None] = []
    if len(before.sources) != len(after.sources):
        return None
    for old, new in zip(before.sources, after.sources, strict=True):
        if new in before.exports:
            made.append(before.exports.index(new))
        elif new == old:
            made.append(None)
        else:
            return None
    found = tuple(made)
    return found if any(c is not None for c in found) and carried in (None, found) else None


def _private(classes: Classes, before: Element, after: Element) -> bool:
    """Whether nothing but the next one reads what an element makes."""
    inside = {*before.ids, *after.ids}
    return all(r in inside for e in before.exports for r in classes.units.readers(before.place, e))


def _fed(first: Element, carried: tuple[int | None, ...]) -> bool:
    """Whether inputs that one value is carried to begin with one value."""
    begin: dict[int, str] = {}
    pairs = zip(carried, first.sources, strict=True)
    return all(begin.setdefault(c, source) == source for c, source in pairs if c is not None)
