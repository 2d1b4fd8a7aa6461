"""What candidates and parts cost: parameters, FLOPs, memory, and the time that this machine takes."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from assembler.compile.files import whole
from assembler.graph.core import Graph, TensorType
from assembler.infer.cost import measured, total
from assembler.infer.shape import dtype_of, signature

BUDGETED = ("params", "flops")
"""What every budget may bound."""
ADDITIVE = (*BUDGETED, "memory", "latency")
"""Costs of a model that are the sums of its parts'."""


def costs_of(
    graph: Graph, wanted: Collection[str] = BUDGETED, steps: dict[str, float] | None = None
) -> dict[str, float]:
    """What budgets and constraints bound, those of `wanted` alone, for one sample.

    `params`; `flops` of a forward pass; `memory`, the bytes of all values that steps make, without those inside a
    step; `depth`, the steps on the longest way through; `steps` altogether; `latency`, milliseconds of a forward pass
    on the CPU, the sum of its steps, each measured once and then looked up in the table `steps`.
    """
    found: dict[str, float] = {}
    if {"steps", "depth"} & set(wanted):
        found |= {"steps": float(len(graph)), "depth": float(_depth(graph))}
    if {"params", "flops", "memory"} & set(wanted):
        types = measured(graph)
        cost = total(graph, types)
        found |= {"params": float(cost.params), "flops": float(cost.flops), "memory": _memory(graph, types)}
    if "latency" in wanted:
        found["latency"] = _latency(graph, steps if steps is not None else {})
    return {name: value for name, value in found.items() if name in wanted}


def _depth(graph: Graph) -> int:
    deep = dict.fromkeys(graph.input_names, 0)
    for i, node in graph:
        deep[i] = 1 + max((deep[s] for s in node.sources), default=0)
    return max((deep[i] for _, i in graph.outputs), default=0)


def _memory(graph: Graph, types: Mapping[str, TensorType]) -> float:
    batch = next((types[n].shape[0] for n in graph.input_names if types[n].shape), 1)
    return float(sum(math.prod(types[i].shape) * dtype_of(types[i].dtype).itemsize for i, _ in graph) // batch)


def _latency(graph: Graph, known: dict[str, float]) -> float:
    from assembler.compile.timing import timings

    types = measured(graph)
    keys = {i: repr(signature(node, tuple(types[s] for s in node.sources))) for i, node in graph}
    if any(key not in known for key in keys.values()):
        for step in timings(graph):
            if step.path in keys:
                known.setdefault(keys[step.path], step.forward)
    return sum(known.get(key, 0.0) for key in keys.values())


@contextmanager
def latencies(home: Path) -> Iterator[dict[str, float]]:
    """The table of milliseconds by step that this machine was measured to take, kept in a folder; it may grow.

    So the same step has the same latency in every run, and a search that is begun again comes to the same.
    """
    about = [platform.node(), platform.machine(), os.cpu_count(), torch.__version__]
    file = home / "latency" / f"{hashlib.blake2b(json.dumps(about).encode(), digest_size=8).hexdigest()}.json"
    known: dict[str, float] = {}
    with suppress(FileNotFoundError, ValueError):
        known = json.loads(file.read_text(encoding="utf-8"))
    before = len(known)
    yield known
    if len(known) > before:
        with whole(file) as path:
            path.write_text(json.dumps(known), encoding="utf-8")
