"""Claims in a schema."""

from __future__ import annotations

from assembler import registry
from assembler.schema.arguments import EXPRESSION, Schema, arguments, const, ref

_NUMBER: Schema = {"type": "number"}
_SPLITS = ["train", "validation", "test"]
_WORDS = {
    "doc": "What the claim is about, for people.",
    "expect": "What must come out: `<= 1e-5` of a check, `a >= b - 0.01` of arms; vars of the recipe may be read.",
    "at": "Changes by path, as with -o, that it is measured with: {vars.dim: 32}.",
    "seeds": "How many seeds, or a list of them.",
    "seeds_holding": "For how many seeds alone it has to hold, instead of in the mean.",
    "model": "The phase whose model is measured; without it a check looks at the model before training.",
    "check": "What is measured; `assembler ls checks` lists them.",
    "inputs": "Ranges of random inputs, {ids: [0, 100]}, or a split of the data for real ones.",
    "batch": "How many samples the check is made with: 2, or 64 real ones, unless it says otherwise.",
    "mode": "Whether the model is in evaluation or in training.",
    "precision": "What is computed in: float64 unless it says otherwise.",
    "graph": "Further steps over values of the model, whose values the check may read.",
    "after": "Rewrites that the model has gone through; `before.` reads values of the model before them.",
    "arms": "What is compared: changes of this recipe by name, {small: {vars.dim: 32}, large: {}}.",
    "metric": "What arms are compared by: test.accuracy, params, a check, or an objective and its split.",
    "budget": "flops: all arms train for the FLOPs of the first; steps: for as long as the recipe says.",
    "data": "The data set that the arms of a model are trained on.",
    "train": "Settings that the arms of a model are trained with.",
    "task": "The loss on the labels that the arms of a model are trained for.",
}


def claims_schema() -> Schema:
    """The definitions `claims` (of a run), `model_claims` and what they are made of."""
    return {
        "claims": _section(_arms(model=False)),
        "model_claims": _section(_arms(model=True)),
        "claim.check": _check(_common() | _setup(), ["doc", "expect"]),
        "claim.metric": _check(_setup(), []),
    }


def _section(arms: Schema) -> Schema:
    checked = {"if": {"type": "object", "required": ["check"]}, "then": ref("claim.check"), "else": {"type": "object"}}
    claim = {"if": {"type": "object", "required": ["arms"]}, "then": arms, "else": checked}
    # one with neither is laid over a claim of the recipe that is extended
    return {"type": ["object", "null"], "additionalProperties": {"anyOf": [{"type": "null"}, claim]}}


def _said(properties: Schema) -> Schema:
    return {key: {**found, "description": _WORDS[key]} for key, found in properties.items()}


def _common() -> Schema:
    whole = {"type": "integer", "minimum": 0}
    seeds = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "array", "minItems": 1, "items": whole}]}
    text = {"type": "string"}
    holding = {"type": "integer", "minimum": 1}
    common = {"doc": text, "expect": text, "at": {"type": "object"}, "seeds": seeds, "seeds_holding": holding}
    return _said({**common, "model": text})


def _setup() -> Schema:
    ends = {"type": "array", "minItems": 2, "maxItems": 2, "items": _NUMBER}
    return _said(
        {
            "inputs": {"anyOf": [{"enum": _SPLITS}, {"type": "object", "additionalProperties": ends}]},
            "batch": {"type": "integer", "minimum": 1},
            "mode": {"enum": ["train", "eval"]},
            "precision": {"enum": ["float64", "float32"]},
            "graph": {"allOf": [ref("steps")]},
            "after": ref("rewrites"),
        }
    )


def _check(beside: Schema, required: list[str]) -> Schema:
    names, each = registry.names("check"), []
    for name in names:
        found = arguments(registry.lookup("check", name))
        found["properties"] = {k: {"anyOf": [v, EXPRESSION]} for k, v in found["properties"].items()}
        found["properties"] |= beside | {"check": {"const": name}}
        each.append({"if": const("check", [name]), "then": found})
    check: Schema = {"enum": names, "description": _WORDS["check"]}
    return {"type": "object", "required": [*required, "check"], "properties": {"check": check}, "allOf": each}


def _arms(*, model: bool) -> Schema:
    words = {"type": "string"}
    metric = {
        "if": {"type": "object", "required": ["check"]},
        "then": ref("claim.metric"),
        "else": {
            "anyOf": [words, {"type": "object", "required": ["split"], "properties": {"split": {"enum": _SPLITS}}}]
        },
    }
    arms = {"type": "object", "minProperties": 1, "additionalProperties": {"type": ["object", "null"]}}
    own: Schema = {"arms": arms, "metric": metric, "budget": {"enum": ["flops", "steps"]}}
    own |= {"data": ref("dataset"), "train": ref("train"), "task": ref("objective")} if model else {}
    properties = _common() | _said(own)
    required = ["doc", "expect", "arms"]
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}
