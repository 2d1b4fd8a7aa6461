"""What the names in an expression stand for: vars, block parameters, loop variables. Looked up late, evaluated once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assembler.errors import Problem, RecipeError, Span
from assembler.recipe.expressions import evaluate, parse
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice, marked

OPEN = "a choice is still open here"
_FURTHEST = 64
_UNKNOWN: Any = object()
_NAME = re.compile(r"=\s*([A-Za-z_]\w*)\s*")


@dataclass(slots=True)
class Copies:
    """How many copies of a repeated step there are; known once everything is unrolled."""

    total: int = 0
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Depth:
    """The `t` of one copy: 0 for the first of all copies of a step, 1 for the last."""

    copies: Copies
    index: int

    def value(self) -> float:
        """`t`, once all copies are counted."""
        if not self.copies.closed:
            raise RecipeError("'t' is not known yet in 'for', 'repeat' and 'op'", hint="use 'i' or 'j' there")
        return self.index / max(1, self.copies.total - 1)


@dataclass(slots=True)
class Lazy:
    """A recipe value and the scope to evaluate it in, once, when it is first asked for."""

    value: Value
    scope: Scope
    name: str = ""
    running: bool = False
    found: Any = _UNKNOWN
    failed: RecipeError | None = None

    def get(self) -> Any:
        """The evaluated value. Raises RecipeError where evaluating it needs itself."""
        if self.found is not _UNKNOWN:
            return self.found
        if self.failed is not None:
            raise self.failed
        if self.running:
            raise RecipeError(Problem(f"'{self.name}' is defined by itself", self.value.span))
        self.running = True
        try:
            self.found = resolve(self.value, self.scope)
        except RecipeError as error:
            self.failed = error
            raise
        finally:
            self.running = False
        return self.found


@dataclass(frozen=True, slots=True)
class Scope(Mapping[str, Any]):
    """Names over an enclosing scope; a block's body sees `vars` and its own parameters, never its caller's names."""

    names: dict[str, Any] = field(default_factory=dict)
    parent: Scope | None = None

    def __getitem__(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                found = scope.names[name]
                if isinstance(found, Lazy):
                    return found.get()
                return found.value() if isinstance(found, Depth) else found
            scope = scope.parent
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        scope: Scope | None = self
        seen: set[str] = set()
        while scope is not None:
            for name in scope.names:
                if name not in seen:
                    seen.add(name)
                    yield name
            scope = scope.parent

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return any(name == n for n in self)

    def find(self, name: str) -> Any:
        """What stands for `name`, not evaluated, or None."""
        scope: Scope | None = self
        while scope is not None and name not in scope.names:
            scope = scope.parent
        return scope.names[name] if scope else None

    def inner(self, **names: Any) -> Scope:
        """A scope inside this one."""
        return Scope(names, self)


def scope_of(section: Map | None, parent: Scope | None = None) -> Scope:
    """A scope whose names are the entries of `vars:` (they may use each other, in any order)."""
    scope = Scope({}, parent)
    for name, value in section or ():
        scope.names[name] = Lazy(value, scope, name)
    return scope


def vars_of(model: Map) -> Scope:
    """The vars of a model recipe."""
    section = model.get("vars")
    return scope_of(section if isinstance(section, Map) else None)


def resolve(value: Value, scope: Scope) -> Any:
    """A recipe value with its expressions evaluated: scalars, lists and dicts.

    A step that a choice put where an op's name is expected stays a `Map`. Raises RecipeError at an undecided choice.
    """
    match value:
        case Leaf(value=str() as text) if text.startswith("="):
            return evaluate(parse(text, value.span), scope)
        case Leaf():
            return value.value
        case Seq():
            return [resolve(v, scope) for v in value]
        case Map() if is_choice(value):
            raise RecipeError(undecided(value))
        case Map():
            return value if "op" in value else {k: resolve(v, scope) for k, v in value}


def settled(value: Value, scope: Scope) -> Value:
    """The value with its expressions evaluated, every part at its place. Raises RecipeError."""
    match value:
        case Leaf():
            return marked(resolve(value, scope), value.span)
        case Seq():
            return Seq(tuple(settled(v, scope) for v in value), value.span)
        case Map():
            found = value
            for key, held in value:
                found = found.set(key, settled(held, scope))
            return found


def origin(value: Value, scope: Scope) -> Span | None:
    """Where a value was written: that of `=name` is where the name was given its value."""
    for _ in range(_FURTHEST):  # names may stand for each other in a circle
        name = _NAME.fullmatch(value.value) if isinstance(value, Leaf) and isinstance(value.value, str) else None
        found = scope.find(name[1]) if name else None
        if not isinstance(found, Lazy) or found.value.span is None:
            break
        value, scope = found.value, found.scope
    return value.span


def undecided(value: Map, span: Span | None = None) -> Problem:
    """The complaint about a choice that nobody has made."""
    hint = "pick one with -o PATH=VALUE, or search over it"
    return Problem(OPEN, value.span or span, hint=hint)
