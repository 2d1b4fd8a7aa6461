"""Recipes as JSON Schema (draft-07, what yaml-language-server reads), generated from the registries.

A schema sees one file and no scopes. So any argument may also be an expression or a choice, and a step whose op is not
registered is accepted, since a block of this recipe (or of one that it extends) may define it; the arguments of
registered ops are checked, unless one of the recipe's blocks takes that name over, which `assembler lint` tells.
"""

from __future__ import annotations

from assembler import registry
from assembler.recipe.paths import KEYS
from assembler.schema.arguments import Schema, arguments, choice, is_kind, named, ref
from assembler.schema.claims import claims_schema
from assembler.schema.models import block, model, op, step, steps
from assembler.schema.runs import moves, objective, phase, rewrites, run, space, term, turn, where
from assembler.schema.weights import weights_schema
from assembler.schema.words import WORDS


def schema() -> Schema:
    """The JSON Schema of recipes of all three kinds."""
    ops = {name: registry.lookup("op", name) for name in registry.names("op", torch=True)}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "assembler recipe",
        "type": "object",
        "properties": {"kind": {"enum": list(KEYS), "description": WORDS["kind"]}},
        "allOf": [
            {"if": is_kind("space"), "then": ref("space")},
            {"if": is_kind("run"), "then": ref("run")},
            {"if": {"not": {"anyOf": [is_kind("space"), is_kind("run")]}}, "then": ref("model")},
        ],
        "definitions": {
            "choice": choice(),
            "initializers": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": named("initializer", open=True),
            },
            "model": model(),
            "space": space(),
            "run": run(),
            "steps": steps(top=False),
            "step": step(ops),
            "block": block(),
            "train": arguments(registry.settings("train")),
            "objective": objective(),
            "turn": turn(),
            "rewrites": rewrites(),
            "where": where(),
            "moves": moves(),
            "term": term(),
            **weights_schema(),
            **claims_schema(),
            **{f"op.{name}": op(entry) for name, entry in ops.items()},
            **{f"phase.{name}": phase(registry.lookup("phase", name)) for name in registry.names("phase")},
            **{kind: named(kind) for kind in ("dataset", "sampler", "optimizer", "proxy", "pruner")},
        },
    }
