"""What candidates are called."""

from __future__ import annotations

from typing import Any

from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice

UNNAMED = {True: "true", False: "false", None: "null"}
"""Words that say nothing without the name of what they are picked for."""


def labels(candidates: Seq) -> tuple[str, ...]:
    """A short name for each candidate: a scalar as it is, a step by its op; repeats get "#2", "#3"."""
    seen: dict[str, int] = {}
    found = []
    for candidate in candidates:
        label = short(candidate)
        seen[label] = seen.get(label, 0) + 1
        found.append(label if seen[label] == 1 else f"{label}#{seen[label]}")
    return tuple(found)


def short(value: Value) -> str:
    """One candidate in a few words."""
    if isinstance(value, Leaf):
        return UNNAMED.get(value.value, str(value.value)) if isinstance(value.value, bool | None) else str(value.value)
    if isinstance(value, Seq):
        return "[" + ", ".join(short(v) for v in value) + "]"
    op = value.get("op") or value.get("rewrite")
    if isinstance(op, Leaf):
        args = [
            f"{k}={short(v).removeprefix('=').lstrip()}"
            for k, v in value
            if k not in ("op", "rewrite", "body") and isinstance(v, Leaf)
        ]
        return str(op.value) + (f"({', '.join(args)})" if args else "")
    if is_choice(value):
        return f"choice(k={short(value.get('k'))})" if "k" in value else "choice"
    return next(iter(value.keys()), "{}")


def said(value: Value) -> Any:
    """A candidate as constraints read it: a scalar or a list of them is itself, anything else its name."""
    if isinstance(value, Leaf):
        return value.value
    if isinstance(value, Seq) and all(isinstance(v, Leaf) for v in value):
        return [said(v) for v in value]
    return short(value) if isinstance(value, Seq | Map) else None
