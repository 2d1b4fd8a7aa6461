"""What assembling works on: trained models held still, the task they are for, and how something is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from assembler.assemble.weights import Weights
from assembler.errors import TrainingError
from assembler.graph.core import Graph
from assembler.train.data.core import Data
from assembler.train.evaluate import evaluating, measure
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec


@dataclass(frozen=True)
class Model:
    """A trained model, held still: its graph and its weights."""

    graph: Graph
    weights: Weights = field(repr=False)


@dataclass(frozen=True)
class Task:
    """What a model is for: the loss on the labels, and the metric that people read."""

    loss: Objective
    metric: str = "accuracy"


@dataclass(frozen=True)
class Training:
    """How something is trained: objective, settings, seed, and what it starts from.

    With `start` "host" a part begins with the host's weights wherever name and shape agree.
    """

    objective: Objective
    spec: FitSpec
    seed: int = 0
    start: Literal["random", "host"] = "random"


def assess(
    module: nn.Module, graph: Graph, data: Data, task: Task, device: torch.device | str = "cpu"
) -> tuple[float, float]:
    """(metric, task loss) of a whole model on the validation split.

    Raises TrainingError where the loss is not finite.
    """
    term = task.loss.terms[0]
    forward = named(module, graph)
    validation = data.validation.to(device)
    with evaluating(module):
        score = measure(forward, validation, task.metric, value=term.value, target=term.target)
        loss = measure(forward, validation, task.loss)
    if not math.isfinite(loss):
        raise TrainingError(f"the validation loss of {graph.name} is {loss}")
    return score, loss


def named(module: nn.Module, graph: Graph) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """The module as a function of a batch by field name, giving its outputs by the graph's names."""

    def forward(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = module(*(batch[name] for name in graph.input_names))
        return found if isinstance(found, dict) else {graph.outputs[0][0]: found}

    return forward
