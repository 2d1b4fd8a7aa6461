"""What a proxy looks at: a model with its initial weights, one batch, and the loss that it would be trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assembler import registry
from assembler.assemble.models import named
from assembler.compile.lower import lower
from assembler.errors import RecipeError, TrainingError
from assembler.graph.core import Graph
from assembler.train.objective import Objective


@dataclass(frozen=True)
class Untrained:
    """A graph to be scored before it is trained; `batch` has the data's fields, targets among them.

    Every proxy gets modules of its own from `module`, with the weights that `seed` gives.
    """

    graph: Graph
    batch: Mapping[str, Tensor]
    objective: Objective
    seed: int = 0

    def module(self) -> nn.Module:
        """The model in training mode, a new one each time."""
        return lower(self.graph, seed=self.seed).train()

    def values(self, module: nn.Module, batch: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The outputs of a module for the batch; random steps draw the same numbers every time."""
        with _still():
            return named(module, self.graph)(self.batch if batch is None else batch)

    def gradients(self, module: nn.Module) -> list[tuple[Tensor, Tensor]]:
        """(parameter, gradient of the loss on the batch) of every parameter that takes part in it.

        Raises TrainingError where the loss is not finite.
        """
        with _still():
            loss, _ = self.objective({**self.batch, **named(module, self.graph)(self.batch)})
        if not math.isfinite(loss.item()):
            raise TrainingError(f"the loss of {self.graph.name} is {loss.item()} before any training")
        params = [p for p in module.parameters() if p.requires_grad]
        found = torch.autograd.grad(loss, params, allow_unused=True) if loss.requires_grad else [None] * len(params)
        return [(p, g) for p, g in zip(params, found, strict=True) if g is not None]


@contextmanager
def _still() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def score(wanted: str | Mapping[str, Any], model: Untrained) -> float:
    """What the proxy `wanted` says of a model: its name, or a mapping of its name and options.

    Raises AssemblerError for an unknown name, InputError for an option that it does not take, RecipeError for a model
    that it can say nothing about.
    """
    entry, options = registry.wanted("proxy", wanted)
    found = float(entry.load()(model, **options))
    if math.isnan(found):
        raise RecipeError(f"the proxy '{entry.name}' of {model.graph.name} is not a number")
    return found
