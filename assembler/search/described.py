"""A space in a study's attributes, and how it differs from the one that a study was made for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assembler.recipe.choices import Decision, Space

Described = dict[str, dict[str, Any]]


def described(space: Space) -> Described:
    """The decisions of a space as plain data, by name."""
    return {d.name: _facts(d) for d in space.decisions}


def differences(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is new, gone or changed, a line each."""
    lines = [f"decision '{name}' is new" for name in new if name not in old]
    lines += [f"decision '{name}' is gone" for name in old if name not in new]
    for name in old:
        if name in new and old[name] != new[name]:
            lines += _changes(name, old[name], new[name])
    return lines


def is_another(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether two spaces are too different for trials of one to say something of the other.

    Decisions and candidates may come and go; but some decision is in both, and none is of another kind than it was.
    """
    both = [name for name in old if name in new]
    return bool(old) and (not both or any(old[name]["kind"] != new[name]["kind"] for name in both))


def _facts(d: Decision) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": d.kind}
    if d.labels:
        found["labels"] = list(d.labels)
    if d.kind in ("int", "float"):
        found |= {"low": d.low, "high": d.high, "log": d.log}
    if d.kind in ("manyof", "moves"):
        found["k"] = d.k
    return found


def _changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    if old["kind"] != new["kind"]:
        return [f"decision '{name}' was {old['kind']} and is {new['kind']}"]
    before, after = old.get("labels", []), new.get("labels", [])
    lines = [f"'{name}' can be {label} too" for label in after if label not in before]
    lines += [f"'{name}' can no longer be {label}" for label in before if label not in after]
    rest = [key for key in new if key != "labels" and old.get(key) != new[key]]
    return lines + [f"{key} of '{name}' was {old.get(key)} and is {new[key]}" for key in rest]
