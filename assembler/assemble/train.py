"""Training a whole model: a meta model, a teacher, a baseline, or an assembly that starts from trained parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from assembler.assemble.fitting import Bench
from assembler.assemble.frozen import check_inputs, compared, owner
from assembler.assemble.hybrid import value_paths, with_values
from assembler.assemble.models import Model, Task, Training, assess
from assembler.assemble.weights import Weights, load_there
from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.infer.cost import train_flops
from assembler.train.data.core import Data
from assembler.train.loop import FitResult, Hooks


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
    """Train every parameter of `graph`, from `weights` or from the seed's initial ones.

    The objective may read the model's outputs and any step's path, and the same of `teachers` (`teacher.logits`).
    """
    check_inputs(graph, data.train)
    teachers = teachers or {}
    needs = {*training.objective.needs, *task.loss.needs} - set(data.train.targets)
    own = sorted(n for n in needs if owner(n, teachers) is None)
    whole = with_values(graph, value_paths(graph, own))
    module = lower(whole, seed=training.seed)
    if weights is not None:
        load_there(module, weights)
    module.to(device).train()
    before = assess(module, whole, data, task, device)
    bench = Bench(module, whole, compared(teachers, needs, device=device), device)
    told = hooks or Hooks()
    told = Hooks(told.progress, told.log, lambda: assess(module, whole, data, task, device)[0])
    result, beside = bench.fit(dict(module.named_parameters()), data, training, told)
    spent = train_flops(graph) * result.samples + beside
    state = {name: tensor.cpu() for name, tensor in module.state_dict().items()}
    return Trained(state, before, assess(module, whole, data, task, device), result, spent)
