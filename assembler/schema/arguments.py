"""What the arguments of registered things look like in a schema, choices and expressions among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from assembler import registry
from assembler.registry import Entry

Schema = dict[str, Any]

EXPRESSION: Schema = {"type": "string", "pattern": "^="}


def ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def loose(value: Schema) -> Schema:
    """`value`, an expression or a choice, and so what is inside it. What takes anything is left as it is."""
    inner: Schema = {
        key: loose(value[key]) for key in ("items", "additionalProperties") if isinstance(value.get(key), dict)
    }
    inner |= {"anyOf": [loose(one) for one in value["anyOf"]]} if "anyOf" in value else {}
    return {"anyOf": [{**value, **inner}, EXPRESSION, ref("choice")]} if value else {}


def arguments(entry: Entry, *, open: bool = False) -> Schema:
    """An object that holds the arguments of a registered thing and nothing else."""
    properties = {}
    for param in entry.params:
        found = param.type.schema()
        found = loose(found) if open else dict(found)
        note = f"{param.type.describe()}" + ("" if param.required or param.inferred else f"; {_said(param.default)}")
        for name in {param.name, param.argument or param.name}:  # `out`, and torch's `out_channels`
            properties[name] = {**found, "description": note}
    wanted = [{p.name, p.argument or p.name} for p in entry.params if p.required]
    needs = [{"anyOf": [{"required": [name]} for name in sorted(names)]} for names in wanted]
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return made | ({"allOf": needs} if needs else {}) | _doc(entry)


def _said(default: Any) -> str:
    return f"{'null' if default is None else str(default).lower() if isinstance(default, bool) else default} by default"


def _doc(entry: Entry) -> Schema:
    return {"description": entry.doc} if entry.doc else {}


def const(key: str, values: Iterable[str]) -> Schema:
    return {"required": [key], "properties": {key: {"enum": list(values)}}}


def is_kind(kind: str) -> Schema:
    return const("kind", [kind])


def choice() -> Schema:
    flag = {"type": "boolean"}
    several = {"type": "array", "minItems": 1}

    def one(key: str, body: Schema, **options: Schema) -> Schema:
        return {"required": [key], "properties": {key: body, **options}, "additionalProperties": False}

    def bounds(number: str) -> Schema:
        return {"type": "array", "items": {"type": number}, "minItems": 2, "maxItems": 2}

    k = {"type": "integer", "minimum": 1}
    return {
        "type": "object",
        "description": "A choice that a search makes.",
        "oneOf": [
            one("$oneof", several),
            one("$int", bounds("integer"), log=flag),
            one("$float", bounds("number"), log=flag),
            one("$manyof", several, k=k, distinct=flag, sorted=flag),
            one("$permutate", several),
        ],
    }


def named(kind: str, *, open: bool = False) -> Schema:
    """The name of a registered thing, or `{name: ..., arguments}`."""
    names = registry.names(kind)
    each = []
    for name in names:
        found = arguments(registry.lookup(kind, name), open=open)
        found["properties"]["name"] = {"const": name}
        each.append({"if": const("name", [name]), "then": found})
    mapping = {"type": "object", "required": ["name"], "properties": {"name": {"enum": names}}, "allOf": each}
    return {"anyOf": [{"enum": names}, mapping]}
