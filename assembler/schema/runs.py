"""Spaces and runs in a schema."""

from __future__ import annotations

from assembler import registry
from assembler.registry import Entry
from assembler.schema.arguments import EXPRESSION, Schema, arguments, const, ref
from assembler.schema.words import section


def space() -> Schema:
    search = arguments(registry.settings("search"))
    search["properties"] |= {"data": ref("dataset"), "sampler": ref("sampler"), "train": chosen_train()}
    for key, use in (("prune", ref("pruner")), ("screen", screen()), ("supernet", supernet())):
        search["properties"][key] = {"anyOf": [use, {"type": "null"}]}
    choose = {"type": "object", "additionalProperties": ref("choice")}
    base = {"anyOf": [{"type": "string"}, ref("model")]}
    return section(
        "space",
        {
            "base": base,
            "choose": choose,
            "where": ref("where"),
            "moves": ref("moves"),
            "search": search,
            "claims": ref("claims"),
        },
        ["base"],
    )


def chosen_train() -> Schema:
    """Settings of trainings that are searched, which may follow from what is chosen."""
    found = arguments(registry.settings("train"))
    found["properties"] = {key: {"anyOf": [one, EXPRESSION]} for key, one in found["properties"].items()}
    return found


def screen() -> Schema:
    """What lets the best candidates alone pass, told before they are trained."""
    found = arguments(registry.settings("screen"))
    found["properties"]["by"] = {"anyOf": [ref("proxy"), {"const": "predictor"}]}
    return found


def supernet() -> Schema:
    """How the weights are trained that all candidates share."""
    return arguments(registry.settings("supernet"))


def where() -> Schema:
    """Constraints on choices."""
    text = {"type": "string", "minLength": 1}
    return {"anyOf": [text, {"type": "array", "items": text}], "description": "What a choice has to meet."}


def moves() -> Schema:
    """Rewrites of the graph that a search may make."""
    most = {"type": "integer", "minimum": 1}
    bounded = {"type": "object", "required": ["of"], "properties": {"of": ref("rewrites"), "most": most}}
    return {"anyOf": [ref("rewrites"), {**bounded, "additionalProperties": False}]}


def run() -> Schema:
    names = registry.names("phase")
    said = {
        "type": "object",
        "required": ["phase"],
        "properties": {"phase": {"enum": names}},
        "allOf": [{"if": const("phase", [name]), "then": ref(f"phase.{name}")} for name in names],
    }
    has_kind = {"type": "object", "required": ["phase"]}  # as a phase may that bears the name of another kind
    phases = {
        "type": "object",
        "minProperties": 1,
        "properties": {name: {"if": has_kind, "then": said, "else": ref(f"phase.{name}")} for name in names},
        "additionalProperties": said,
    }
    properties = {
        "model": {"anyOf": [{"type": "string"}, {"type": "object"}]},
        "space": {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": ref("choice")}]},
        "split": {
            "anyOf": [
                {"type": "string"},
                {"type": "integer", "minimum": 1},
                {"type": "array", "minItems": 1, "items": {"type": "string"}},
            ]
        },
        "data": ref("dataset"),
        "train": ref("train"),
        "task": ref("objective"),
        "metric": {"enum": ["accuracy", "loss", "perplexity", *registry.names("loss")]},
        "seeds": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
        "phases": phases,
        "claims": ref("claims"),
        "lock": {
            "type": "object",
            "properties": {"weights": {"type": "object", "additionalProperties": {"type": "string"}}},
        },
    }
    return section("run", properties, ["model", "data", "phases"])


def phase(entry: Entry) -> Schema:
    found = arguments(entry)
    uses = {key: ref(key) for key in ("train", "objective", "sampler")}
    uses |= {"prune": ref("pruner"), "screen": screen(), "supernet": supernet()}
    uses |= {"turns": {"type": "array", "minItems": 1, "items": ref("turn")}, "apply": ref("rewrites")}
    for key, use in uses.items():
        if key in found["properties"]:
            found["properties"][key] = {"anyOf": [use, {"type": "null"}]}
    if entry.name == "search":
        found["properties"]["train"] = {"anyOf": [chosen_train(), {"type": "null"}]}
    found["properties"]["phase"] = {"type": "string"}
    return {**found, "type": ["object", "null"]}


def term() -> Schema:
    """A loss term: the arguments and inputs of its loss, or of the op in its place, beside what every term has."""
    losses = registry.names("loss")
    text, number = {"type": "string"}, {"type": "number"}
    common = {
        "loss": {"enum": [*losses, *registry.names("op", torch=True)]},
        "value": text,
        "target": text,
        "weight": number,
        "name": text,
    }
    each = []
    for name in losses:
        entry = registry.lookup("loss", name)
        found = arguments(entry)
        found["properties"] |= common | {port: text for port in entry.inputs}
        each.append({"if": const("loss", [name]), "then": found})
    alone = {"required": ["value"], "properties": common, "additionalProperties": False}
    bare = {"if": {"not": {"required": ["loss"]}}, "then": alone}
    return {"type": "object", "properties": common, "allOf": [*each, bare]}


def objective() -> Schema:
    """One term, a list of terms, or terms over steps of the objective's own."""
    several = {"type": "array", "minItems": 1, "items": ref("term")}
    given = {"type": "object", "additionalProperties": {"type": "string"}}
    own = {
        "type": "object",
        "required": ["terms"],
        "properties": {"graph": ref("steps"), "given": given, "terms": several},
        "additionalProperties": False,
    }
    return {"if": {"type": "object", "required": ["terms"]}, "then": own, "else": {"anyOf": [several, ref("term")]}}


def turn() -> Schema:
    """One turn of a training with several optimisers."""
    found = arguments(registry.settings("turn"))
    found["properties"] |= {"objective": ref("objective"), "optimizer": ref("optimizer")}
    return found


def rewrites() -> Schema:
    """What is rewritten, one after another: names, or mappings with the rewrite's options and where it applies."""
    names, each = registry.names("rewrite"), []
    for name in names:
        found = arguments(registry.lookup("rewrite", name))
        found["properties"] |= {"rewrite": {"const": name}, "at": {"type": ["string", "array"]}}
        each.append({"if": const("rewrite", [name]), "then": found})
    mapping = {"type": "object", "required": ["rewrite"], "properties": {"rewrite": {"enum": names}}, "allOf": each}
    return {"type": "array", "minItems": 1, "items": {"anyOf": [{"enum": names}, mapping]}}
