"""What a recipe file is read into: frozen values, each with its place in the source.

Equality and hashes look at the values alone, never at the places, so two files that say the same thing are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from assembler.errors import Span

Scalar = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar."""

    value: Scalar
    span: Span | None = field(default=None, compare=False, repr=False)

    def __eq__(self, other: object) -> bool:
        # 1, 1.0 and True are three different recipe values.
        return isinstance(other, Leaf) and self.value == other.value and type(self.value) is type(other.value)

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class Seq:
    """A list."""

    items: tuple[Value, ...] = ()
    span: Span | None = field(default=None, compare=False, repr=False)

    def __iter__(self) -> Iterator[Value]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class Map:
    """A mapping with string keys, in source order. Edits return a new mapping."""

    items: tuple[tuple[str, Value], ...] = ()
    span: Span | None = field(default=None, compare=False, repr=False)
    key_spans: tuple[Span | None, ...] = field(default=(), compare=False, repr=False)

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, key: str) -> bool:
        return key in self._index

    @cached_property
    def _index(self) -> dict[str, int]:
        return {k: i for i, (k, _) in enumerate(self.items)}

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default`."""
        return self.items[self._index[key]][1] if key in self._index else default

    def keys(self) -> list[str]:
        """Keys, in order."""
        return [k for k, _ in self.items]

    def key_span(self, key: str) -> Span | None:
        """Where the key itself stands."""
        if key not in self._index:
            return self.span
        at = self._index[key]
        return (self.key_spans[at] if self.key_spans else None) or self.items[at][1].span

    def set(self, key: str, value: Value) -> Map:
        """This mapping with `key` set: in place if it is there, else at the end."""
        if key in self:
            return Map(tuple((k, value if k == key else v) for k, v in self.items), self.span, self.key_spans)
        return Map((*self.items, (key, value)), self.span, (*self._spans(), value.span))

    def drop(self, *keys: str) -> Map:
        """This mapping without `keys`."""
        kept = [(item, span) for item, span in zip(self.items, self._spans(), strict=True) if item[0] not in keys]
        return Map(tuple(i for i, _ in kept), self.span, tuple(s for _, s in kept))

    def _spans(self) -> tuple[Span | None, ...]:
        return self.key_spans or (None,) * len(self.items)


Value = Leaf | Seq | Map


def is_choice(value: Value) -> bool:
    """Whether a value is a choice, a mapping with a `$` key."""
    return isinstance(value, Map) and any(k.startswith("$") for k, _ in value.items)


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
