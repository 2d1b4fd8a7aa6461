"""Annotations read as the types of recipe arguments: checked, described, turned into JSON Schema, no code run.

A parameter annotated `Channels`, `Features`, `Shape` or `Shapes` is filled from the input's shape, one annotated
`Body` with the steps under `body:`, one annotated `Tensor` is an input; everything else is an argument.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NewType, Protocol

from assembler.errors import near

Channels = NewType("Channels", int)
"""An `int` taken from axis 1 of the first input, `[B, C, ...]`."""
Features = NewType("Features", int)
"""An `int` taken from the last axis of the first input, `[..., D]`."""
Shape = tuple[int, ...]
"""The whole shape of the first input, batch included."""
Shapes = tuple[tuple[int, ...], ...]
"""The shapes of all inputs, in order."""


class Body(Protocol):
    """The sub-graph that a recipe gives under `body:`, as an op gets it.

    `types` are those of the values that the step reads, by the names under which the body knows them; anything with
    `shape` and `dtype`. `outputs` are the names of what the body makes.
    """

    @property
    def types(self) -> Mapping[str, Any]:
        """The types of what enters, by name."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what the body makes."""

    def made(self, types: Mapping[str, Any]) -> dict[str, Any]:
        """The types of what the body makes from values of these types."""

    def build(self, types: Mapping[str, Any], name: str = "") -> Any:
        """A module for values of these types: keyword arguments by name in, a dict by name out.

        Bodies built under different names begin with different weights.
        """


INFERRED = {"Channels": "axis 1", "Features": "axis -1", "Shape": "shape", "Shapes": "shapes", "Body": "body"}

_PLAIN: dict[str, Any] = {"int": int, "float": (int, float), "str": str, "None": type(None)}
_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "None": "null",
    "Any": "anything",
}
_JSON = {"int": "integer", "float": "number", "str": "string", "bool": "boolean", "None": "null"}


@dataclass(frozen=True, slots=True)
class Type:
    """What values an argument takes. `kind` is a plain name, "union", "literal", "list", "tuple" or "dict"."""

    kind: str
    of: tuple[Any, ...] = ()

    def accepts(self, value: Any) -> bool:
        """Whether a plain recipe value (scalars, lists, dicts) may be given for this type."""
        match self.kind:
            case "Any":
                return True
            case "union":
                return any(t.accepts(value) for t in self.of)
            case "literal":
                return any(value == o and type(value) is type(o) for o in self.of)
            case "list":
                return isinstance(value, list | tuple) and all(self.of[0].accepts(v) for v in value)
            case "tuple":
                fits = isinstance(value, list | tuple) and len(value) == len(self.of)
                return fits and all(t.accepts(v) for t, v in zip(self.of, value, strict=True))
            case "dict":
                # A graph holds a mapping as a tuple of (name, value) pairs, so that it can be hashed.
                pairs = value.items() if isinstance(value, dict) else value
                is_pairs = isinstance(value, dict | tuple) and all(isinstance(p, tuple) and len(p) == 2 for p in pairs)
                return is_pairs and all(isinstance(k, str) and self.of[0].accepts(v) for k, v in pairs)
            case "bool":
                return isinstance(value, bool)
            case _:
                return isinstance(value, _PLAIN[self.kind]) and not isinstance(value, bool)

    def nearest(self, value: Any) -> str:
        """A "did you mean" for the first text in a value, or in a list, that is none of a literal's; else ""."""
        match self.kind:
            case "union" | "list":
                members = value if self.kind == "list" and isinstance(value, list | tuple) else [value]
                found = (t.nearest(v) for t in self.of for v in members if not t.accepts(v))
                return next(filter(None, found), "")
            case "literal":
                return near(value, [o for o in self.of if isinstance(o, str)]) if isinstance(value, str) else ""
            case _:
                return ""

    def describe(self) -> str:
        """The type in words, for messages: "an integer or a list of integers"."""
        match self.kind:
            case "union":
                return " or ".join(dict.fromkeys(t.describe() for t in self.of))
            case "literal":
                return "one of " + ", ".join(repr(o) for o in self.of) if len(self.of) > 1 else repr(self.of[0])
            case "list":
                return f"a list, each {self.of[0].describe()}"
            case "tuple":
                return f"a list of {len(self.of)}"
            case "dict":
                return "a mapping" + ("" if self.of[0].kind == "Any" else f", each value {self.of[0].describe()}")
            case _:
                return _WORDS[self.kind]

    def schema(self) -> dict[str, Any]:
        """The type as JSON Schema."""
        match self.kind:
            case "Any":
                return {}
            case "union":
                return {"anyOf": [t.schema() for t in self.of]}
            case "literal":
                return {"enum": list(self.of)}
            case "list":
                return {"type": "array", "items": self.of[0].schema()}
            case "tuple":
                return {"type": "array", "minItems": len(self.of), "maxItems": len(self.of)}
            case "dict":
                return {"type": "object", "additionalProperties": self.of[0].schema()}
            case _:
                return {"type": _JSON[self.kind]}


ANY = Type("Any")


@functools.cache
def parse(annotation: str) -> Type:
    """The type that an annotation's text stands for; what is not understood is `Any`.

    >>> parse("int | tuple[int, ...] | None").describe()
    'an integer or a list, each an integer or null'
    """
    try:
        return _read(ast.parse(annotation, mode="eval").body)
    except SyntaxError:
        return ANY


def _read(node: ast.expr) -> Type:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([_read(node.left), _read(node.right)])
    if isinstance(node, ast.Constant):
        return Type("None") if node.value is None else parse(node.value) if isinstance(node.value, str) else ANY
    if isinstance(node, ast.Attribute):
        return _name(node.attr)
    if isinstance(node, ast.Name):
        return _name(node.id)
    if isinstance(node, ast.Subscript):
        return _generic(node)
    return ANY


def _name(name: str) -> Type:
    if name in _PLAIN or name == "bool":
        return Type(name)
    if name.startswith("_size_"):  # torch's `_size_2_t`: one int or one per axis
        return _union([Type("int"), Type("list", (Type("int"),))])
    return ANY


def _generic(node: ast.Subscript) -> Type:
    head = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if head == "Literal":
        return Type("literal", tuple(ast.literal_eval(p) for p in parts))
    if head == "Optional":
        return _union([_read(parts[0]), Type("None")])
    if head == "Union":
        return _union([_read(p) for p in parts])
    if head in ("list", "List", "Sequence", "Iterable"):
        return Type("list", (_read(parts[0]),))
    if head in ("tuple", "Tuple"):
        if len(parts) == 2 and isinstance(parts[1], ast.Constant) and parts[1].value is Ellipsis:
            return Type("list", (_read(parts[0]),))
        return Type("tuple", tuple(_read(p) for p in parts))
    if head in ("dict", "Dict", "Mapping"):
        return Type("dict", (_read(parts[1]),))
    return ANY


def _union(parts: list[Type]) -> Type:
    flat = [u for p in parts for u in (p.of if p.kind == "union" else (p,))]
    return ANY if ANY in flat else Type("union", tuple(dict.fromkeys(flat)))
