"""Names with dots as nested values: `hidden.0, hidden.1, logits` are `{"hidden": [a, b], "logits": c}` to a caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def pack(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Values by dotted name as nested mappings, those whose keys count from 0 as lists."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        *parents, last = name.split(".")
        here = tree
        for part in parents:
            here = here.setdefault(part, {})
        here[last] = value
    return {name: _listed(value) for name, value in tree.items()}


def flatten(values: Mapping[str, Any] | list[Any] | tuple[Any, ...], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The inverse of `pack`: (dotted name, value) of everything that is no mapping or list."""
    pairs = values.items() if isinstance(values, Mapping) else enumerate(values)
    for key, value in pairs:
        name = f"{prefix}{key}"
        if isinstance(value, Mapping | list | tuple):
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def _listed(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    inner = {key: _listed(value) for key, value in tree.items()}
    if list(inner) == [str(n) for n in range(len(inner))]:
        return list(inner.values())
    return inner
