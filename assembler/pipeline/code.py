"""Digests of the code that a trained product depends on, so that a change of it makes the product anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from assembler import registry
from assembler.assemble.task import module_code
from assembler.graph.core import Graph
from assembler.train.spec import FitSpec, turn_settings
from assembler.train.terms import Spec, read

METHOD = (
    "assembler.assemble.fitting",
    "assembler.assemble.frozen",
    "assembler.assemble.hybrid",
    "assembler.assemble.incubate",
    "assembler.assemble.judging",
    "assembler.assemble.models",
    "assembler.assemble.sharing",
    "assembler.assemble.train",
    "assembler.assemble.weights",
    "assembler.assemble.worth",
    "assembler.compile.code",
    "assembler.compile.lower",
    "assembler.compile.model",
    "assembler.compile.steps",
    "assembler.graph.modes",
    "assembler.train.constraints",
    "assembler.train.data.batches",
    "assembler.train.ema",
    "assembler.train.evaluate",
    "assembler.train.loop",
    "assembler.train.objective",
    "assembler.train.optimizers",
    "assembler.train.schedule",
    "assembler.train.steps",
    "assembler.train.terms",
    "assembler.train.turns",
)
"""Modules that every trained product depends on."""
BEGINNINGS = (
    *(
        f"assembler.assemble.inherit.{name}"
        for name in ("account", "channels", "inherited", "learned", "matching", "quiet", "resize", "stacked")
    ),
    *(
        f"assembler.assemble.{name}"
        for name in ("growing", "spliced", "starting", "stitches.fitted", "stitches.layers")
    ),
)
"""Modules that a product depends on beside, which begins with weights of another graph's."""
NESTING = ("assembler.assemble.nested", *(f"assembler.assemble.supernet.{name}" for name in ("library", "stepping")))
"""Modules that parts depend on beside which are trained at once."""


def beginnings() -> list[str]:
    """The digests of what makes weights of one graph weights of another."""
    return [module_code(name) for name in BEGINNINGS]


def nesting() -> list[str]:
    """The digests of what trains several parts at once."""
    return [module_code(name) for name in NESTING]


def code_of(
    graph: Graph, objective: Spec, train: Mapping[str, Any], turns: Iterable[Mapping[str, Any]] = ()
) -> list[str]:
    """The digests for a product of `graph`: its ops, its losses, its optimisers, the method.

    `turns` are those of the recipe, each with its objective; where there are some, `objective` is not used.
    """
    turns = list(turns)
    objectives = [turn["objective"] for turn in turns] or ([objective] if objective else [])
    graphs = [graph, *(read(spec).graph for spec in objectives)]
    ops = {registry.lookup("op", op).code for one in graphs for op in _ops(one)}
    settings = [train, *(turn_settings(turn, train) for turn in turns)]
    optimizers = {registry.lookup("optimizer", _optimizer(spec)).code for spec in settings}
    return sorted(ops | optimizers | {module_code(m) for m in METHOD})


def _ops(graph: Graph) -> Iterator[str]:
    """The ops of a graph, and of those inside its steps."""
    for _, node in graph:
        yield node.op
        yield from _ops(node.body) if node.body else ()


def _optimizer(train: Mapping[str, Any]) -> str:
    wanted = FitSpec.from_spec(train).optimizer
    return wanted if isinstance(wanted, str) else str(wanted.get("name"))
