"""Numbers that may differ along a model: one for all of it, some along its depth, or by pattern of path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assembler.errors import InputError
from assembler.graph.core import Graph
from assembler.graph.values import covers

Along = float | Sequence[float] | Mapping[str, float | Sequence[float]]
"""0.5; [0, 1], from the first step with weights to the last; {"*.attn": 0.3, "*": [0, 1]}, the first that covers."""


def depths(graph: Graph, keys: Sequence[str]) -> dict[str, float]:
    """How deep the step of each weight lies: 0 for the first of them in the graph's order, 1 for the last.

    Steps stand in the order of the graph; the weights of one step lie equally deep.
    """
    order = {path: n for n, path in enumerate(graph.nodes)}
    owners = {key: _owner(key, order) for key in keys}
    places = sorted({order.get(owner, 0) for owner in owners.values()})
    rank = {place: n / max(len(places) - 1, 1) for n, place in enumerate(places)}
    return {key: rank[order.get(owner, 0)] for key, owner in owners.items()}


def number(said: Along, key: str, depth: float, what: str) -> float:
    """What `said` is for one weight. Raises InputError where it is no number there."""
    if isinstance(said, Mapping):
        found = next((value for pattern, value in said.items() if covers(pattern, key)), None)
        if found is None:
            raise InputError(f"{what} says nothing for '{key}'", hint="end with '*', which covers all")
        return number(found, key, depth, what)
    if isinstance(said, Sequence) and not isinstance(said, str):
        if not said or not all(map(_is_number, said)):
            raise InputError(f"{what} along the depth is a list of numbers, not {list(said)}")
        at = depth * (len(said) - 1)
        low = min(int(at), len(said) - 1)
        high = min(low + 1, len(said) - 1)
        return float(said[low] + (at - low) * (said[high] - said[low]))
    if not _is_number(said):
        raise InputError(f"{what} is a number, a list of them along the depth, or these by pattern, not {said!r}")
    return float(said)


def varies(said: Any) -> bool:
    """Whether an option differs along the model."""
    return isinstance(said, Mapping) or (isinstance(said, Sequence) and not isinstance(said, str))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _owner(key: str, nodes: Mapping[str, int]) -> str:
    """The outermost step of the graph that a weight's key lies in."""
    parts = key.split(".")
    return next((path for n in range(1, len(parts)) if (path := ".".join(parts[:n])) in nodes), "")
