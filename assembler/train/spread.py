"""Patterns in the steps of an objective: `from: block.*.fc.weight` reads one value of each copy, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assembler.graph.core import ITEM, Graph
from assembler.graph.values import is_weight, matching, with_items
from assembler.infer.interpret import flat
from assembler.infer.shape import shapes, weight_sizes
from assembler.train.terms import Spec

_BODIES = ("body", "shortcut")


def spread(spec: Spec, own: Graph, others: Mapping[str, Graph]) -> Spec:
    """The objective with names in the place of patterns, of the model's own graph and of `others` (`teacher.block.*`).

    A pattern that names nothing stays.
    """
    if not isinstance(spec, Mapping) or not isinstance(spec.get("graph"), Mapping):
        return spec
    return {**spec, "graph": _steps(spec["graph"], own, others)}


def named(pattern: str, own: Graph, others: Mapping[str, Graph]) -> list[str]:
    """The named values that a pattern stands for; those of the averaged copy are the model's own."""
    head, _, inner = pattern.partition(".")
    if head in others or head == "ema":
        return [f"{head}.{name}" for name in _there(others.get(head, own), inner)]
    return _there(own, pattern)


def _there(graph: Graph, pattern: str) -> list[str]:
    """The values that a pattern names; of steps that have such a weight and others that have none, the former."""
    found = matching(graph, pattern)
    nodes = with_items(graph, found).nodes
    weights = [name for name in found if name in nodes and nodes[name].op == ITEM and is_weight(graph, nodes[name])]
    if not weights:
        return found
    types, held = shapes(graph), []
    for name in weights:
        step, weight = nodes[name].sources[0], str(nodes[name].arg("output"))
        source = graph.nodes[step]
        sizes = weight_sizes(source, tuple(types[s] for s in source.sources))
        if flat(weight) in map(flat, sizes):
            held.append(name)
    return held or found


def _steps(steps: Mapping[str, Any], own: Graph, others: Mapping[str, Graph]) -> dict[str, Any]:
    found = {}
    for name, step in steps.items():
        if isinstance(step, Mapping):
            step = dict(step)
            if "from" in step:
                step["from"] = _from(step["from"], own, others)
            step |= {key: _steps(step[key], own, others) for key in _BODIES if isinstance(step.get(key), Mapping)}
        found[name] = step
    return found


def _from(value: Any, own: Graph, others: Mapping[str, Graph]) -> Any:
    if isinstance(value, str):
        found = named(value, own, others) if "*" in value else []
        return found or value
    if isinstance(value, list | tuple):
        inner = [_from(one, own, others) for one in value]
        return [name for one in inner for name in (one if isinstance(one, list) else [one])]
    return value
