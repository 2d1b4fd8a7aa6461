"""Digests of the code that a trained product depends on, so that a change of it makes the product anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from assembler import registry
from assembler.assemble.task import module_code
from assembler.graph.core import Graph
from assembler.train.spec import FitSpec

METHOD = (
    "assembler.assemble.fitting",
    "assembler.assemble.frozen",
    "assembler.assemble.hybrid",
    "assembler.assemble.incubate",
    "assembler.assemble.models",
    "assembler.assemble.train",
    "assembler.assemble.weights",
    "assembler.compile.lower",
    "assembler.train.data.batches",
    "assembler.train.evaluate",
    "assembler.train.loop",
    "assembler.train.objective",
    "assembler.train.optimizers",
    "assembler.train.schedule",
)
"""Modules that every trained product depends on."""


def code_of(graph: Graph, objective: Iterable[Mapping[str, Any]], train: Mapping[str, Any]) -> list[str]:
    """The digests for a product of `graph`: its ops, its losses, its optimiser, the method."""
    ops = {registry.lookup("op", node.op).code for _, node in graph}
    losses = {registry.lookup("loss", term["loss"]).code for term in objective}
    wanted = FitSpec.from_spec(train).optimizer
    name = wanted if isinstance(wanted, str) else str(wanted.get("name"))
    optimizer = {registry.lookup("optimizer", name).code}
    return sorted(ops | losses | optimizer | {module_code(m) for m in METHOD})
