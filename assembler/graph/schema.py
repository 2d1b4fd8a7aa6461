"""Recipes as JSON Schema (draft-07, what yaml-language-server reads), generated from the registries.

A schema sees one file and no scopes. So any argument may also be an expression or a choice, and a step whose op is not
registered is accepted, since a block of this recipe (or of one that it extends) may define it; the arguments of
registered ops are checked, unless one of the recipe's blocks takes that name over, which `assembler lint` tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from assembler import registry
from assembler.graph.interface import DTYPES
from assembler.graph.reserved import RESERVED_STEPS
from assembler.graph.weights_schema import weights_schema
from assembler.recipe.document import VERSION
from assembler.recipe.paths import GROUPS, KEYS, SECTIONS, STEP_KEYS
from assembler.recipe.steps import BLOCK_KEYS
from assembler.registry import Entry

Schema = dict[str, Any]

EXPRESSION: Schema = {"type": "string", "pattern": "^="}
_OWN_OPS = {"residual": "shortcut", "branches": "merge"}
"""The language's own ops with a body, and the key that only each of them takes."""
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
    "initializers": "How parameters begin: {weight: {name: normal, std: 0.02}, bias: zeros}.",
}
_KEYS = {
    "kind": "What the file describes: a model, a space of models, or a run.",
    "version": "The version of the recipe language.",
    "name": "A short name; the file's own if left out.",
    "doc": "What this is, for people.",
    "extends": "A recipe that this one is laid over; null deletes.",
    "set": "Changes by path, as with -o: {vars.dim: 96}.",
    "vars": "Values that expressions can use: =dim * 2.",
    "scales": "Named changes; poolformer@s24 is the recipe with those of s24.",
    "inputs": "Tensors that enter, by name: [B, 3, 32, 32], or {shape: [B, 16], dtype: int64, when: train}; they nest.",
    "blocks": "Ops of this recipe's own, made of steps.",
    "graph": "The steps, in order.",
    "outputs": "Names of what leaves, and the steps that give it, or {from: step, when: train}; they nest.",
    "initializers": "How parameters begin, by op: {linear.weight: {name: normal, std: 0.02}, linear.bias: zeros}.",
    "weights": "Weights to begin with, and how their names map to these: {file: m.safetensors, map: {a.*: b.*}}.",
    "base": "The model that the space is about.",
    "choose": "Choices by path: {stage.*.block.mixer: {$oneof: [pool, attention]}}.",
    "model": "The model that the run is about.",
    "space": "Choices by path, or the name of a space.",
    "split": "The slots that parts are trained for: steps or runs ([stage.*], [stem..stage.0]), how many, or auto.",
    "data": "The data set, by name or as {name: ..., arguments}.",
    "train": "Settings that every training of the run starts from.",
    "task": "The loss on the labels: {loss: cross_entropy, value: logits, target: label}.",
    "metric": "What people read: accuracy, or the name of a loss.",
    "seeds": "The run is made once for every seed.",
    "phases": "What is done, in order.",
    "search": "How `assembler search` searches the space.",
}


def schema() -> Schema:
    """The JSON Schema of recipes of all three kinds."""
    ops = {name: registry.lookup("op", name) for name in registry.names("op", torch=True)}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "assembler recipe",
        "type": "object",
        "properties": {"kind": {"enum": list(KEYS), "description": _KEYS["kind"]}},
        "allOf": [
            {"if": _is_kind("space"), "then": _ref("space")},
            {"if": _is_kind("run"), "then": _ref("run")},
            {"if": {"not": {"anyOf": [_is_kind("space"), _is_kind("run")]}}, "then": _ref("model")},
        ],
        "definitions": {
            "choice": _choice(),
            "initializers": {"type": "object", "minProperties": 1, "additionalProperties": _named("init", loose=True)},
            "model": _model(),
            "space": _space(),
            "run": _run(),
            "steps": _steps(top=False),
            "step": _step(ops),
            "block": _block(),
            "train": _arguments(registry.settings("train")),
            "objective": {"type": "array", "minItems": 1, "items": _ref("term")},
            "term": _term(),
            **weights_schema(),
            **{f"op.{name}": _op(entry) for name, entry in ops.items()},
            **{f"phase.{name}": _phase(registry.lookup("phase", name)) for name in registry.names("phase")},
            **{kind: _named(kind) for kind in ("dataset", "sampler", "optimizer")},
        },
    }


# What arguments are ---------------------------------------------------------------------------------------------


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _loose(value: Schema) -> Schema:
    """`value`, an expression or a choice, and so what is inside it. What takes anything is left as it is."""
    inner: Schema = {
        key: _loose(value[key]) for key in ("items", "additionalProperties") if isinstance(value.get(key), dict)
    }
    inner |= {"anyOf": [_loose(one) for one in value["anyOf"]]} if "anyOf" in value else {}
    return {"anyOf": [{**value, **inner}, EXPRESSION, _ref("choice")]} if value else {}


def _arguments(entry: Entry, *, loose: bool = False) -> Schema:
    """An object that holds the arguments of a registered thing and nothing else."""
    properties = {}
    for param in entry.params:
        found = param.type.schema()
        found = _loose(found) if loose else dict(found)
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


def _const(key: str, values: Iterable[str]) -> Schema:
    return {"required": [key], "properties": {key: {"enum": list(values)}}}


def _is_kind(kind: str) -> Schema:
    return _const("kind", [kind])


def _choice() -> Schema:
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
            one("$int", bounds("integer")),
            one("$float", bounds("number"), log=flag),
            one("$manyof", several, k=k, distinct=flag, sorted=flag),
            one("$permutate", several),
        ],
    }


# Models ---------------------------------------------------------------------------------------------


def _section(kind: str, properties: Schema, required: list[str]) -> Schema:
    common: Schema = {
        "kind": {"const": kind} if kind != "model" else {"enum": ["model"]},
        "version": {"const": VERSION},
        "name": {"type": "string"},
        "doc": {"type": "string"},
        "extends": {"type": ["string", "null"]},
        "set": {"type": "object"},
    }
    found = {key: {**{**common, **properties}[key], "description": _KEYS[key]} for key in KEYS[kind]}
    made: Schema = {"type": "object", "properties": found, "additionalProperties": False}
    # what a recipe does not say itself may come from the one that it extends
    return made | {"anyOf": [{"required": ["extends"]}, {"required": required}]}


def _model() -> Schema:
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
    blocks = {"type": ["object", "null"], "additionalProperties": {"anyOf": [_ref("block"), {"type": "null"}]}}
    properties = {
        "vars": mapping,
        "scales": {**mapping, "additionalProperties": mapping},
        "inputs": {
            "type": "object",
            "additionalProperties": {"anyOf": [shape, typed, several, EXPRESSION, {"type": "null"}]},
        },
        "blocks": blocks,
        "graph": {"allOf": [_steps(top=True)]},
        "outputs": {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": leaving}]},
        "weights": _ref("weights"),
        "initializers": _ref("initializers"),
        "if": _loose({"type": ["boolean", "integer"]}),
    }
    return _section("model", properties, ["inputs", "graph"])


def _steps(*, top: bool) -> Schema:
    taken = {*STEP_KEYS, *GROUPS, *RESERVED_STEPS, *((*SECTIONS, "set") if top else ())}
    words = "|".join(sorted(taken))
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^(?!(?:{words})$)[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties": _ref("step"),
    }


def _step(ops: dict[str, Entry]) -> Schema:
    """A step: an op's name, null (which deletes), or a mapping whose arguments belong to its op."""
    classes = {entry.qualname: name for name, entry in ops.items() if entry.module == "torch.nn"}
    name = {"anyOf": [{"enum": [*_OWN_OPS, *ops, *classes]}, {"type": "string", "pattern": "^(=|[A-Za-z_])"}]}
    by_op: list[Schema] = [{"if": _const("op", [op]), "then": _ref(f"op.{op}")} for op in ops]
    by_op += [{"if": _const("op", [cls]), "then": _ref(f"op.{op}")} for cls, op in classes.items()]
    by_op += [{"if": _const("op", [op]), "then": _bodied(key)} for op, key in _OWN_OPS.items()]
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
        "for": {"anyOf": [several, _ref("choice")]},
        "repeat": _loose({"type": "integer", "minimum": 0}),
        "body": _ref("steps"),
        "shortcut": _ref("steps"),
        "merge": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["op"]}, _ref("choice")]},
        "outputs": {"type": "object", "minProperties": 1, "additionalProperties": source},
        "share": _loose({"anyOf": [{"const": True}, source, {"type": "object", "additionalProperties": source}]}),
        "frozen": _loose({"type": "boolean"}),
        "initializers": _ref("initializers"),
    }
    return {key: {"allOf": [found[key]], "description": _STEP[key]} for key in keys}


def _bodied(*own: str) -> Schema:
    """A step with a body, and what only it takes; one copy of many may be changed by its number."""
    keys = _step_keys("op", "from", "for", "repeat", "body", "share", "frozen", "initializers", "if", *own)
    return {
        "required": ["body"],
        "properties": keys,
        "patternProperties": {"^[0-9]+$": {}},
        "additionalProperties": False,
    }


def _op(entry: Entry) -> Schema:
    found = _arguments(entry, loose=True)
    nested = ("body", "outputs") if entry.has_body else ()
    found["properties"] |= _step_keys("op", "from", "for", "repeat", "share", "frozen", "initializers", "if", *nested)
    return {**found, "patternProperties": {"^[0-9]+$": {}}}


def _block() -> Schema:
    properties = {
        "params": {"type": ["object", "null"], "description": "Parameters and their defaults; null: must be given."},
        "inputs": {"type": "array", "items": {"type": "string"}, "description": "Names of the inputs, if several."},
        "body": {**_ref("steps")},
        "outputs": {"type": "object", "additionalProperties": {"type": "string"}, "description": _STEP["outputs"]},
        "doc": {"type": "string"},
    }
    assert set(properties) == set(BLOCK_KEYS)
    return {"type": "object", "properties": properties, "additionalProperties": False}


# Spaces and runs ---------------------------------------------------------------------------------------------


def _space() -> Schema:
    search = _arguments(registry.settings("search"))
    search["properties"] |= {"data": _ref("dataset"), "sampler": _ref("sampler"), "train": _ref("train")}
    choose = {"type": "object", "additionalProperties": _ref("choice")}
    base = {"anyOf": [{"type": "string"}, _ref("model")]}
    return _section("space", {"base": base, "choose": choose, "search": search}, ["base"])


def _run() -> Schema:
    names = registry.names("phase")
    phases = {
        "type": "object",
        "minProperties": 1,
        "properties": {name: _ref(f"phase.{name}") for name in names},
        "additionalProperties": {
            "type": "object",
            "required": ["phase"],
            "properties": {"phase": {"enum": names}},
            "allOf": [{"if": _const("phase", [name]), "then": _ref(f"phase.{name}")} for name in names],
        },
    }
    properties = {
        "model": {"anyOf": [{"type": "string"}, {"type": "object"}]},
        "space": {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": _ref("choice")}]},
        "split": {
            "anyOf": [
                {"type": "string"},
                {"type": "integer", "minimum": 1},
                {"type": "array", "minItems": 1, "items": {"type": "string"}},
            ]
        },
        "data": _ref("dataset"),
        "train": _ref("train"),
        "task": _ref("term"),
        "metric": {"enum": ["accuracy", *registry.names("loss")]},
        "seeds": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
        "phases": phases,
    }
    return _section("run", properties, ["model", "data", "phases"])


def _phase(entry: Entry) -> Schema:
    found = _arguments(entry)
    uses = {"train": _ref("train"), "objective": _ref("objective"), "sampler": _ref("sampler")}
    for key, use in uses.items():
        if key in found["properties"]:
            found["properties"][key] = {"anyOf": [use, {"type": "null"}]}
    found["properties"]["phase"] = {"type": "string"}
    return {**found, "type": ["object", "null"]}


def _term() -> Schema:
    """A loss term: the loss's own arguments beside what every term has."""
    names = registry.names("loss")
    text, number = {"type": "string"}, {"type": "number"}
    common = {"loss": {"enum": names}, "value": text, "target": text, "weight": number, "name": text}
    each = []
    for name in names:
        found = _arguments(registry.lookup("loss", name))
        found["properties"] |= common
        each.append({"if": _const("loss", [name]), "then": found})
    return {"type": "object", "required": ["loss", "value", "target"], "properties": common, "allOf": each}


def _named(kind: str, *, loose: bool = False) -> Schema:
    """The name of a registered thing, or `{name: ..., arguments}`."""
    names = registry.names(kind)
    each = []
    for name in names:
        found = _arguments(registry.lookup(kind, name), loose=loose)
        found["properties"]["name"] = {"const": name}
        each.append({"if": _const("name", [name]), "then": found})
    mapping = {"type": "object", "required": ["name"], "properties": {"name": {"enum": names}}, "allOf": each}
    return {"anyOf": [{"enum": names}, mapping]}
