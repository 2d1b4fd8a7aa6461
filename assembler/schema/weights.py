"""The part of the JSON Schema that tells how a model's weights are read."""

from __future__ import annotations

from typing import Any

from assembler.recipe.weights import EDITS, SOURCES, WEIGHTS_KEYS

Schema = dict[str, Any]


def weights_schema() -> dict[str, Schema]:
    """The definitions of the section `weights:` and of what one tensor is made of."""
    return {"weights": _weights(), "tensor": _tensor()}


def _weights() -> Schema:
    text = {"type": "string", "minLength": 1}
    made = {"anyOf": [{"$ref": "#/definitions/tensor"}, {"type": "null"}]}
    properties: Schema = {
        "file": {**text, "description": "A file beside the recipe, a folder with a checkpoint, or hf:org/name."},
        "map": {
            "type": ["object", "null"],
            "minProperties": 1,
            "additionalProperties": made,
            "description": "Patterns of this model's names, and what they are made of; the first that fits wins.",
        },
        "prefix": {**text, "description": "What names in the weights may begin with or lack: transformer."},
        "partial": {
            "anyOf": [{"type": "boolean"}, {"type": "string", "pattern": "^="}],
            "description": "Read only what fits; the rest begins as it would without.",
        },
    }
    assert set(properties) == set(WEIGHTS_KEYS)
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}


def _tensor() -> Schema:
    tensor = {"$ref": "#/definitions/tensor"}
    expression = {"type": "string", "pattern": "^="}
    number = {"anyOf": [{"type": "integer"}, expression]}
    numbers = {"anyOf": [{"type": "array", "minItems": 1, "items": number}, expression]}
    several = {"type": "array", "minItems": 2, "items": tensor}
    properties: Schema = {
        "from": {**tensor, "description": "One tensor, by name."},
        "concat": {**several, "description": "Tensors joined along `axis`, by default 0."},
        "any": {**several, "description": "The first of these that is there."},
        "axis": {**number, "description": "The axis of concat or chunk."},
        "chunk": {**numbers, "description": "[k, n]: the k-th of n equal parts, the first being 0."},
        "reshape": {**numbers, "description": "The new sizes; one may be -1."},
        "permute": {**numbers, "description": "All axes in their new order."},
        "transpose": {"anyOf": [{"type": "boolean"}, expression], "description": "Exchange the last two axes."},
    }
    assert set(properties) == {*SOURCES, *EDITS, "axis"}
    one = {"oneOf": [{"required": [key]} for key in SOURCES]}
    mapping = {"type": "object", "properties": properties, "additionalProperties": False, **one}
    return {"anyOf": [{"type": "string", "minLength": 1}, mapping]}
