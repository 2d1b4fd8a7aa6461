"""Models in a schema: inputs, blocks, steps."""

from __future__ import annotations

from assembler.graph.reserved import RESERVED_STEPS
from assembler.recipe.paths import GROUPS, SECTIONS, STEP_KEYS
from assembler.recipe.steps import BLOCK_KEYS, MODEL_KEYS
from assembler.registry import Entry
from assembler.schema.arguments import EXPRESSION, Schema, arguments, const, loose, ref
from assembler.schema.words import section
from assembler.wiring.interface import DTYPES

_OWN_OPS = {"residual": "shortcut", "branches": "merge"}
"""The language's own ops with a body, and the key that only each of them takes."""
_EVERY = ("from", "for", "repeat", "share", "frozen", "initializers", "weights", "if", "after")
_STEP = {
    "op": "What the step does: a registered op, a torch.nn class, a block of this recipe, residual or branches.",
    "from": "Where the input comes from: a step, a list of steps, or {input: step}. The step before it if left out.",
    "for": "One copy for every value of the lists: {w: =widths, n: =depths}; `i` counts them.",
    "repeat": "How many copies there are; `j` counts them, `t` goes from 0 to 1 over all copies.",
    "body": "The steps inside, one after another.",
    "shortcut": "The steps of a residual's other arm; the identity if left out.",
    "merge": "How branches are joined: an op of any number of inputs, such as add or concat.",
    "outputs": "What the steps inside give out, by name; the first is the step's own value.",
    "share": "The step whose weights this one uses, or {weight: embed.weight}; true: one set for all copies.",
    "frozen": "Not trained, and always as in evaluation.",
    "if": "Whether there is such a step; where there is none, its first input is passed on.",
    "after": "In a recipe that extends an imported model: the step behind which a new one stands, and is read instead.",
    "initializers": "How parameters begin: {weight: {name: normal, std: 0.02}, bias: zeros}.",
    "weights": "Weights that the step begins with, under names relative to it: {file: backbone.safetensors}.",
}


_DEPTH = "How many of its calls may lie in one another; each call makes the choices in the body for itself."


def model() -> Schema:
    mode = {"enum": ["train", "eval"]}
    shape = {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]},
    }
    typed = {
        "type": "object",
        "properties": {"shape": {"anyOf": [shape, EXPRESSION]}, "dtype": {"enum": list(DTYPES)}, "when": mode},
        "required": ["shape"],
        "additionalProperties": False,
    }
    nested = {"type": ["array", "object"]}
    names = {"pattern": "^(?!(?:shape|dtype|when)$)"}
    several = {
        "anyOf": [
            {"type": "array", "minItems": 1, "items": nested},
            {"type": "object", "minProperties": 1, "propertyNames": names, "additionalProperties": nested},
        ]
    }
    leaving = {"anyOf": [{"type": ["string", "null"]}, {"type": "array"}, {"type": "object"}]}
    mapping = {"type": ["object", "null"]}
    blocks = {"type": ["object", "null"], "additionalProperties": {"anyOf": [ref("block"), {"type": "null"}]}}
    properties = {
        "vars": mapping,
        "scales": {**mapping, "additionalProperties": mapping},
        "inputs": {
            "type": "object",
            "additionalProperties": {"anyOf": [shape, typed, several, EXPRESSION, {"type": "null"}]},
        },
        "blocks": blocks,
        "graph": {"anyOf": [{"type": "string"}, steps(top=True)]},
        "edits": mapping,
        "outputs": {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": leaving}]},
        "weights": ref("weights"),
        "claims": ref("model_claims"),
        "initializers": ref("initializers"),
        "where": ref("where"),
        "moves": ref("moves"),
    }
    found = section("model", properties, ["inputs", "graph"])
    written = {"properties": {"graph": {"type": "string"}}, "required": ["graph"]}
    return {**found, "anyOf": [*found["anyOf"], written]}


def steps(*, top: bool) -> Schema:
    taken = {*STEP_KEYS, *GROUPS, *RESERVED_STEPS, *((*SECTIONS, "set") if top else ())}
    words = "|".join(sorted(taken))
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^(?!(?:{words})$)[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties": ref("step"),
    }


def step(ops: dict[str, Entry]) -> Schema:
    """A step: an op's name, null (which deletes), or a mapping whose arguments belong to its op."""
    classes = {entry.qualname: name for name, entry in ops.items() if entry.module == "torch.nn"}
    name = {"anyOf": [{"enum": [*_OWN_OPS, *ops, *classes]}, {"type": "string", "pattern": "^(=|[A-Za-z_])"}]}
    by_op: list[Schema] = [{"if": const("op", [op]), "then": ref(f"op.{op}")} for op in ops]
    by_op += [{"if": const("op", [cls]), "then": ref(f"op.{op}")} for cls, op in classes.items()]
    by_op += [{"if": const("op", [op]), "then": _bodied(key)} for op, key in _OWN_OPS.items()]
    no_op = {"required": ["body"], "not": {"required": ["op"]}}
    mapping = {
        "properties": {"op": {"anyOf": [name, {"type": "object"}], "description": _STEP["op"]}},
        "allOf": [*by_op, {"if": no_op, "then": _bodied("outputs")}],
    }
    # $oneof of steps, and a step laid over one of a recipe that is extended, have no op
    return {"if": {"type": "object"}, "then": mapping, "else": {"anyOf": [{"type": "null"}, name]}}


def _step_keys(*keys: str) -> Schema:
    several: Schema = {"type": "object", "minProperties": 1, "additionalProperties": {}}
    source = {"type": "string"}
    found: Schema = {
        "op": {},
        "from": {
            "anyOf": [source, {"type": "array", "items": source}, {"type": "object", "additionalProperties": source}]
        },
        "for": {"anyOf": [several, ref("choice")]},
        "repeat": loose({"type": "integer", "minimum": 0}),
        "body": ref("steps"),
        "shortcut": ref("steps"),
        "merge": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["op"]}, ref("choice")]},
        "outputs": {"type": "object", "minProperties": 1, "additionalProperties": source},
        "share": loose({"anyOf": [{"const": True}, source, {"type": "object", "additionalProperties": source}]}),
        "frozen": loose({"type": "boolean"}),
        "initializers": ref("initializers"),
        "weights": ref("weights"),
        "if": loose({"type": ["boolean", "integer"]}),
        "after": source,
    }
    return {key: {"allOf": [found[key]], "description": _STEP[key]} for key in keys}


def _bodied(*own: str) -> Schema:
    """A step with a body, and what only it takes; one copy of many may be changed by its number."""
    keys = _step_keys("op", "body", *_EVERY, *own)
    return {
        "required": ["body"],
        "properties": keys,
        "patternProperties": {"^[0-9]+$": {}},
        "additionalProperties": False,
    }


def op(entry: Entry) -> Schema:
    found = arguments(entry, open=True)
    nested = ("body", "outputs") if entry.has_body else ()
    found["properties"] |= _step_keys("op", *_EVERY, *nested)
    return {**found, "patternProperties": {"^[0-9]+$": {}}}


def block() -> Schema:
    properties = {
        "params": {"type": ["object", "null"], "description": "Parameters and their defaults; null: must be given."},
        "inputs": {"type": "array", "items": {"type": "string"}, "description": "Names of the inputs, if several."},
        "depth": {"type": "integer", "minimum": 1, "description": _DEPTH},
        "body": {**ref("steps")},
        "outputs": {"type": "object", "additionalProperties": {"type": "string"}, "description": _STEP["outputs"]},
        "doc": {"type": "string"},
    }
    assert set(properties) == set(BLOCK_KEYS)
    whole = model()["properties"]
    more = {key: whole[key] for key in MODEL_KEYS if key not in properties}
    known = {"properties": properties, "additionalProperties": False}
    inner = {"properties": {**more, "doc": {}, "outputs": whole["outputs"]}, "additionalProperties": False}
    imported = {"anyOf": [{"required": ["extends"]}, {"required": ["graph"]}]}
    return {"type": "object", "if": imported, "then": inner, "else": known}
