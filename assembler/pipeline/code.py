"""Digests of the code that a trained product depends on, so that a change of it makes the product anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from assembler import registry
from assembler.assemble.task import module_code
from assembler.graph.core import Graph

METHOD = (
    "assembler.assemble.fitting",
    "assembler.assemble.frozen",
    "assembler.assemble.hybrid",
    "assembler.assemble.incubate",
    "assembler.assemble.train",
    "assembler.compile.lower",
    "assembler.train.data.batches",
    "assembler.train.loop",
    "assembler.train.optimizers",
    "assembler.train.schedule",
)
"""Modules that every trained product depends on."""


def code_of(graph: Graph, objective: Iterable[Mapping[str, Any]] = ()) -> list[str]:
    """The digests for a product of `graph`: its ops, its losses, the method."""
    ops = {registry.lookup("op", node.op).code for _, node in graph}
    losses = {registry.lookup("loss", term["loss"]).code for term in objective}
    return sorted(ops | losses | {module_code(m) for m in METHOD})
