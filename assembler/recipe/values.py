"""What a recipe file is read into: frozen values, each with its place in the source.

Equality and hashes look at the values alone, never at the places, so two files that say the same thing are equal.
A value that was read keeps its place as one number, its mark, and a Span is made of it where someone asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from assembler.errors import Span

Scalar = None | bool | int | float | str
_FEW = 12  # up to so many keys, looking along them beats a dictionary


class Source(Protocol):
    """What a text's marks are about."""

    def span(self, mark: int) -> Span:
        """The stretch of a line that a mark stands for."""


Place = Span | int | None
"""A place: as it is shown, or as a mark of a source."""


def _shown(place: Place, source: Source | None) -> Span | None:
    return source.span(place) if source is not None and isinstance(place, int) else place  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar."""

    value: Scalar
    place: Place = field(default=None, compare=False, repr=False)
    source: Source | None = field(default=None, compare=False, repr=False)

    @property
    def span(self) -> Span | None:
        """Where it stands."""
        return _shown(self.place, self.source)

    def __eq__(self, other: object) -> bool:
        # 1, 1.0 and True are three different recipe values.
        return isinstance(other, Leaf) and self.value == other.value and type(self.value) is type(other.value)

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def __reduce__(self) -> tuple[Any, ...]:
        return Leaf, (self.value, self.span)


@dataclass(frozen=True, slots=True)
class Seq:
    """A list."""

    items: tuple[Value, ...] = ()
    place: Place = field(default=None, compare=False, repr=False)
    source: Source | None = field(default=None, compare=False, repr=False)

    @property
    def span(self) -> Span | None:
        """Where it stands."""
        return _shown(self.place, self.source)

    def __iter__(self) -> Iterator[Value]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __reduce__(self) -> tuple[Any, ...]:
        return Seq, (self.items, self.span)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Map:
    """A mapping with string keys, in source order. Edits return a new mapping."""

    _keys: tuple[str, ...]
    _values: tuple[Value, ...]
    _places: tuple[Place, ...] = field(compare=False)
    _place: Place = field(compare=False)
    _source: Source | None = field(compare=False)
    _index: dict[str, int] | None = field(compare=False)

    def __init__(
        self,
        items: Iterable[tuple[str, Value]] = (),
        span: Span | None = None,
        key_spans: tuple[Span | None, ...] = (),
    ) -> None:
        keys, values = tuple(zip(*items, strict=True)) or ((), ())
        _fill(self, keys, values, key_spans, span, None)

    @classmethod
    def read(cls, keys: tuple[str, ...], values: tuple[Value, ...], places: tuple[Place, ...],
             place: Place, source: Source | None) -> Map:  # fmt: skip
        """A mapping whose places, its own and those of its keys, may be marks of a source."""
        made = cls.__new__(cls)
        _fill(made, keys, values, places, place, source)
        return made

    @classmethod
    def short(cls, key: str, value: Leaf) -> Map:
        """`{key: value}` where the value alone is written."""
        return cls.read((key,), (value,), (value.place,), value.place, value.source)

    @property
    def items(self) -> tuple[tuple[str, Value], ...]:
        """(key, value) pairs, in order."""
        return tuple(zip(self._keys, self._values, strict=True))

    @property
    def span(self) -> Span | None:
        """Where it stands."""
        return _shown(self._place, self._source)

    @property
    def place(self) -> Place:
        """Where it stands, as it was read."""
        return self._place

    @property
    def key_spans(self) -> tuple[Span | None, ...]:
        """Where its keys stand; empty where nobody knows."""
        return tuple([_shown(place, self._source) for place in self._places])

    def __repr__(self) -> str:
        return f"Map(items={self.items!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Map, (self.items, self.span, self.key_spans)

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        return zip(self._keys, self._values, strict=True)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in (self._keys if len(self._keys) <= _FEW else self._find())

    def _find(self) -> dict[str, int]:
        """The index of every key."""
        if self._index is None:
            object.__setattr__(self, "_index", {k: i for i, k in enumerate(self._keys)})
        assert self._index is not None
        return self._index

    def _at(self, key: str) -> int:
        """The index of a key, -1 where it is not there."""
        if len(self._keys) > _FEW:
            return self._find().get(key, -1)
        return self._keys.index(key) if key in self._keys else -1

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default`."""
        keys = self._keys
        if len(keys) > _FEW:
            at = self._find().get(key, -1)
            return default if at < 0 else self._values[at]
        return self._values[keys.index(key)] if key in keys else default

    def keys(self) -> list[str]:
        """Keys, in order."""
        return list(self._keys)

    def key_span(self, key: str) -> Span | None:
        """Where the key itself stands."""
        at = self._at(key)
        if at < 0:
            return self.span
        return (_shown(self._places[at], self._source) if self._places else None) or self._values[at].span

    def over(self, values: tuple[Value, ...]) -> Map:
        """This mapping with other values, in order."""
        return Map.read(self._keys, values, self._places, self._place, self._source)

    def set(self, key: str, value: Value) -> Map:
        """This mapping with `key` set: in place if it is there, else at the end."""
        at, values, places = self._at(key), self._values, self._places
        if at >= 0:
            values = (*values[:at], value, *values[at + 1 :])
            return Map.read(self._keys, values, places, self._place, self._source)
        places = (*(places or (None,) * len(self)), value.span)
        return Map.read((*self._keys, key), (*values, value), places, self._place, self._source)

    def drop(self, *keys: str) -> Map:
        """This mapping without `keys`."""
        kept = [i for i, key in enumerate(self._keys) if key not in keys]
        if len(kept) == len(self):
            return self
        names, values, places = self._keys, self._values, self._places or (None,) * len(self)
        return Map.read(
            tuple([names[i] for i in kept]),
            tuple([values[i] for i in kept]),
            tuple([places[i] for i in kept]),
            self._place,
            self._source,
        )


def _fill(
    made: Map,
    keys: tuple[str, ...],
    values: tuple[Value, ...],
    places: tuple[Place, ...],
    place: Place,
    source: Source | None,
) -> None:
    fill = object.__setattr__
    fill(made, "_keys", keys)
    fill(made, "_values", values)
    fill(made, "_places", places)
    fill(made, "_place", place)
    fill(made, "_source", source)
    fill(made, "_index", None)


Value = Leaf | Seq | Map


def is_choice(value: Value) -> bool:
    """Whether a value is a choice, a mapping with a `$` key."""
    return isinstance(value, Map) and any(k.startswith("$") for k in value.keys())


def holds(value: Value | None, key: str) -> bool:
    """Whether `key` stands anywhere inside a value."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Map):
            if key in here:
                return True
            waiting += [v for _, v in here]
        elif isinstance(here, Seq):
            waiting += here.items
    return False


def plain(value: Value) -> Any:
    """Built-in Python for a value: dicts, lists and scalars."""
    match value:
        case Leaf():
            return value.value
        case Seq():
            return [plain(v) for v in value.items]
        case Map():
            return {k: plain(v) for k, v in value.items}


def marked(value: Any, span: Span | None = None) -> Value:
    """The inverse of `plain`; every part bears `span`. Raises TypeError for what a recipe cannot hold."""
    if isinstance(value, Leaf | Seq | Map):
        return value
    if value is None or isinstance(value, bool | int | float | str):
        return Leaf(value, span)
    if isinstance(value, Mapping):
        return Map(tuple((str(k), marked(v, span)) for k, v in value.items()), span)
    if isinstance(value, list | tuple):
        return Seq(tuple(marked(v, span) for v in value), span)
    raise TypeError(f"a recipe cannot hold a {type(value).__name__}: {value!r}")
