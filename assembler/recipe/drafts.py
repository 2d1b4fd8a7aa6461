"""Steps that are laid out, but whose arguments are not evaluated yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assembler.errors import Span
from assembler.recipe.scope import Scope
from assembler.recipe.values import Map, Value


@dataclass(slots=True)
class Draft:
    """A step laid out but not evaluated."""

    path: str
    kind: str
    step: Map
    scope: Scope
    span: Span | None
    named: Span | None
    op: str = ""
    body: Sequence[Draft] = ()
    shortcut: Sequence[Draft] = ()
    inputs: tuple[str, ...] = ()
    outputs: Value | None = None
    left_out: bool = False
    twin: str = ""
    """The copy whose weights this one uses."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step is being laid out: its path, the path without copy numbers, the scope, how deep, in which blocks."""

    path: str
    template: str
    scope: Scope
    depth: int = 0
    blocks: tuple[str, ...] = ()

    def child(self, name: str) -> Place:
        join = f"{self.path}.{name}" if self.path else name
        return Place(join, f"{self.template}.{name}", self.scope, self.depth + 1, self.blocks)

    def copy(self, index: int, scope: Scope) -> Place:
        return Place(f"{self.path}.{index}", self.template, scope, self.depth, self.blocks)
