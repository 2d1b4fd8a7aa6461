"""What assembling works on: trained models held still, the task they are for, and how something is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from assembler.assemble.weights import Weights
from assembler.graph.core import Graph
from assembler.graph.structure import flatten, pack
from assembler.graph.values import covers
from assembler.train.evaluate import Forward
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec

Start = Literal["random", "host", "copies"]
"""What a part or a model begins with, see `starting`."""


@dataclass(frozen=True)
class Model:
    """A trained model, held still: its graph and its weights."""

    graph: Graph
    weights: Weights = field(repr=False)


@dataclass(frozen=True)
class Task:
    """What a model is for: the loss on the data, and the metric that people read.

    The metric is "accuracy", "loss" (the task's own), "perplexity" (e to the power of it) or the name of a loss.
    `beside` are the models whose values the task compares with, held still, as functions of a batch; `theirs` are the
    names of those values (`teacher.logits`).
    """

    loss: Objective
    metric: str = "accuracy"
    beside: Sequence[Forward] = ()
    theirs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Move:
    """One turn of every training step: what it trains, on which objective, with which settings, every how many steps.

    `paths` are those of the steps that it trains, `*` standing for any one part; none means all.
    """

    objective: Objective
    spec: FitSpec
    paths: tuple[str, ...] = ()
    name: str = ""
    every: int = 1

    def trains(self, path: str) -> bool:
        """Whether the step, container or parameter at a path is one that this turn trains."""
        return not self.paths or any(covers(pattern, path) for pattern in self.paths)


@dataclass(frozen=True)
class Training:
    """How something is trained: objective, settings, seed, and what it starts from.

    `start` is what a part begins with (see `starting`). `paths` are the steps that
    are trained, all where there are none; the others keep their weights and stay in evaluation mode. `turns` stand in
    the objective's place where parts of the model are trained by turns.
    """

    objective: Objective
    spec: FitSpec
    seed: int = 0
    start: Start = "random"
    paths: tuple[str, ...] = ()
    turns: tuple[Move, ...] = ()

    @property
    def moves(self) -> tuple[Move, ...]:
        """The turns, of which there is at least one."""
        return self.turns or (Move(self.objective, self.spec),)

    @property
    def needs(self) -> frozenset[str]:
        """The named values that training reads."""
        return frozenset(name for move in self.moves for name in move.objective.needs)

    def holds(self, path: str) -> bool:
        """Whether what lies at a path is kept as it is."""
        return bool(self.paths) and not any(covers(pattern, path) for pattern in self.paths)


def named(
    module: nn.Module, graph: Graph, names: Mapping[str, str] | None = None
) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """The module as a function of a batch by field name, giving its outputs by the graph's names, or by `names`."""
    inputs, known, bound = graph.input_names, names or {}, dict(graph.only)
    first = graph.outputs[0][0]

    def forward(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        given = {name: batch[name] for name in inputs if name in batch or name not in bound}
        found = module(**pack(given.items()))
        values = dict(flatten(found)) if isinstance(found, dict) else {first: found}
        return {known.get(name, name): value for name, value in values.items()}

    return forward
