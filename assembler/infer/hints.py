"""What is usually meant where a step refuses what it is given."""

from __future__ import annotations

import re
from collections.abc import Sequence

from assembler.errors import near
from assembler.graph.core import Node, TensorType
from assembler.registry import lookup


def way_out(node: Node, i: str, given: Sequence[TensorType], why: str) -> str:
    """A hint for the step `i` that refuses values of the types `given` because of `why`, or ""."""
    inside = [s.startswith(f"{i}.") for s in node.sources]
    if node.op == "add" and len(inside) == 2 and inside == [False, True]:  # a residual without a shortcut
        return (
            "a body that changes the shape needs a shortcut: that changes what enters alike, for instance {proj: ...}"
        )
    if wrong := _of_another_type(node, given, why):
        return wrong
    words = re.findall(r"[a-z][\w-]*", why)
    for value in dict(node.args).values():
        if isinstance(value, str) and (meant := near(value, [word for word in words if word != value])):
            return meant
    floats = [s for s, kind in zip(node.sources, given, strict=True) if kind.dtype.startswith("float")]
    if floats and "Long" in why:
        what = f"'{floats[0]}' has to be whole numbers: {{shape: [...], dtype: int64}} where it is an input"
        return f"{what}, {{op: cast, dtype: int64}} elsewhere"
    if len(given) == 2 and lookup("op", node.op).param("axis") is not None:
        return other_axis(given[0], given[1], dict(node.args).get("axis", 1))
    return ""


def _of_another_type(node: Node, given: Sequence[TensorType], why: str) -> str:
    """How an input that is no floating-point number becomes one, where that is what a step refuses."""
    odd = [(s, t.dtype) for s, t in zip(node.sources, given, strict=True) if "float" not in t.dtype]
    if not odd or not re.search("same d(ata)?type|not implemented for|but found|not supported", why):
        return ""
    return f"'{odd[0][0]}' is {odd[0][1]}: {{op: cast, dtype: float32}} before it makes floating-point numbers"


def other_axis(value: TensorType, target: TensorType, axis: object) -> str:
    """The other axis of the classes with which a loss takes labels of the shape of `target`, or ""."""
    last, places = len(value.shape) - 1, range(1, len(value.shape))
    fits = [n for n in places if (*value.shape[:n], *value.shape[n + 1 :]) == target.shape]
    found = next((n for n in reversed(fits) if n != axis), 0)
    return f"write axis: {-1 if found == last else found}, the axis of the classes" if found else ""
