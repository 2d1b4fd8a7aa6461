"""Recipe choices and PyGlove's hyper values, each turned into the other."""

from __future__ import annotations

from typing import Any

import pyglove as pg

from assembler.errors import RecipeError
from assembler.recipe.values import Leaf, Map, Seq, is_choice, plain

WHOLE = "int"
WHOLE_LOG = "int, log"
"""The hints by which a range of whole numbers stays one when it passes through `pg.oneof`."""


def to_hyper(value: Any) -> Any:
    """PyGlove's form of a recipe value: mappings and lists become symbolic, choices hyper values."""
    if isinstance(value, Map) and is_choice(value):
        return _choice(value)
    if isinstance(value, Map | dict):
        items = value.items if isinstance(value, Map) else value.items()
        return pg.Dict({k: to_hyper(v) for k, v in items})
    if isinstance(value, Seq | list):
        return pg.List([to_hyper(v) for v in value])
    return value.value if isinstance(value, Leaf) else value


def _choice(value: Map) -> Any:
    key = next(k for k, _ in value if k.startswith("$"))
    body = value.get(key)
    if key == "$float":
        low, high = plain(body)
        return pg.floatv(float(low), float(high), scale="log" if plain(value.get("log", Leaf(False))) else None)
    if key == "$int":
        low, high = plain(body)
        log = bool(plain(value.get("log", Leaf(False))))
        return pg.oneof(list(range(low, high + 1)), hints=WHOLE_LOG if log else WHOLE)
    candidates = [to_hyper(v) for v in body]
    if key == "$oneof":
        return pg.oneof(candidates)
    if key == "$permutate":
        return pg.permutate(candidates)
    options = {k: plain(v) for k, v in value if k != key}
    return pg.manyof(
        options.get("k", 1),
        candidates,
        choices_distinct=options.get("distinct", True),
        choices_sorted=options.get("sorted", False),
    )


def from_hyper(value: Any) -> Any:
    """Built-in Python, with choices as `{"$oneof": [...]}` and so on, for a symbolic value."""
    if isinstance(value, pg.hyper.Float):
        log = {"log": True} if value.scale == "log" else {}
        return {"$float": [value.min_value, value.max_value], **log}
    if isinstance(value, pg.hyper.Choices):
        return _choices(value)
    if isinstance(value, pg.Dict):
        return {str(k): from_hyper(v) for k, v in value.sym_items()}
    if isinstance(value, dict):
        return {str(k): from_hyper(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        items = value.sym_values() if isinstance(value, pg.List) else value
        return [from_hyper(v) for v in items]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    hint = "use pg.oneof, pg.manyof, pg.permutate, pg.floatv, or plain values"
    raise RecipeError(f"a recipe cannot hold a {type(value).__name__}: {value!r}", hint=hint)


def _choices(value: Any) -> dict[str, Any]:
    candidates = [from_hyper(c) for c in value.candidates]
    if isinstance(value, pg.hyper.OneOf):
        if value.hints in (WHOLE, WHOLE_LOG):
            log = {"log": True} if value.hints == WHOLE_LOG else {}
            return {"$int": [candidates[0], candidates[-1]], **log}
        return {"$oneof": candidates}
    if value.num_choices == len(candidates) and value.choices_distinct and not value.choices_sorted:
        return {"$permutate": candidates}
    options = {"k": value.num_choices, "distinct": value.choices_distinct, "sorted": value.choices_sorted}
    return {"$manyof": candidates, **options}
