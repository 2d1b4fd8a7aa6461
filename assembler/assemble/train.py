"""Training a whole model: a meta model, a teacher, a baseline, or an assembly that starts from trained parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from assembler.assemble.fitting import Bench, divided
from assembler.assemble.frozen import check_inputs, of_turns, own_values
from assembler.assemble.judging import score, watched
from assembler.assemble.models import Model, Task, Training
from assembler.assemble.weights import Weights, load_there
from assembler.compile.lower import lower
from assembler.errors import RecipeError, near
from assembler.graph.core import Graph
from assembler.graph.values import covers
from assembler.infer.cost import train_flops
from assembler.train.data.core import Data
from assembler.train.loop import FitResult, Hooks
from assembler.train.world import state_of


@dataclass(frozen=True)
class Trained:
    """A trained model: weights, validation metric and loss before and after, what training did and cost in FLOPs."""

    weights: Weights
    before: tuple[float, float]
    after: tuple[float, float]
    fit: FitResult
    train_flops: int


def train_model(
    graph: Graph,
    data: Data,
    task: Task,
    training: Training,
    *,
    weights: Weights | None = None,
    teachers: Mapping[str, Model] | None = None,
    device: torch.device | str = "cpu",
    hooks: Hooks | None = None,
) -> Trained:
    """Train the parameters of `graph` that are not frozen, from `weights` or from the seed's initial ones.

    The objectives may read the model's outputs and any step's path, the same of `teachers` (`teacher.logits`) and of
    the averaged copy (`ema.logits`), and the data's fields; what they give a teacher (`teacher.mask`) are values of the
    model too. Raises RecipeError for a value or path that is not there.
    """
    check_inputs(graph, data.train)
    teachers = teachers or {}
    needs = training.needs | task.loss.needs
    whole, names = watched(graph, own_values(needs, teachers, graph, data))
    module = lower(whole, seed=training.seed)
    if weights is not None:
        load_there(module, weights)
    module.to(device).train()
    trained = divided(module, _trained(module, graph, training), training)

    def judged(one: nn.Module) -> tuple[float, float]:
        return score(one, whole, data.validation.to(device), task, f"the loss of {graph.name}", names)

    before = judged(module)
    frozen, told = of_turns(teachers, training, device)
    bench = Bench(module, whole, frozen, device, names, lambda one: judged(one)[0], told=told)
    fitted = bench.fit(trained, data, training, hooks)
    result = fitted.result
    state = state_of(module)
    own = bench.flops(training, result) if training.turns else _flops(graph, training) * result.samples
    return Trained(state, before, judged(module), result, fitted.beside + own)


def _trained(module: nn.Module, graph: Graph, training: Training) -> dict[str, nn.Parameter]:
    """The parameters to train. What is not to be trained is put into evaluation mode, to stay as it is."""
    wanted = [path for move in training.moves for path in move.paths]
    for pattern in (*training.paths, *wanted):
        if not any(covers(pattern, path) for path in graph.nodes):
            hint = near(pattern, [*graph.names, *graph.nodes]) or "`assembler show` lists the paths"
            raise RecipeError(f"there is no step '{pattern}' in {graph.name} to train", hint=hint)
    for path, inner in module.named_modules():
        if path and training.holds(path):
            inner.training = False
    return {n: p for n, p in module.named_parameters() if p.requires_grad and not training.holds(n)}


def _flops(graph: Graph, training: Training) -> int:
    """FLOPs of one training step for one sample."""
    return train_flops(graph, [i for i in graph.nodes if not training.holds(i)] if training.paths else None)
