"""DARTS (Liu et al., ICLR 2019, arXiv:1806.09055): weights and the softmaxes over candidates, trained by turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from assembler.assemble.models import Task, Training, named
from assembler.assemble.supernet.library import Library
from assembler.assemble.supernet.relaxed import Relaxed, relaxed
from assembler.compile.lower import lower
from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.infer.cost import train_flops
from assembler.recipe.choices import Choice, Space
from assembler.train.augment import Augment
from assembler.train.data.batches import Batches
from assembler.train.data.core import Data
from assembler.train.loop import FitResult, Hooks, fit_turns
from assembler.train.turns import Turn

_RATE, _DECAY = 3e-3, 1e-3  # of the softmaxes' logits


def train_darts(
    space: Space,
    graph: Callable[[Choice], Graph],
    data: Data,
    task: Task,
    training: Training,
    device: torch.device | str = "cpu",
    hooks: Hooks | None = None,
) -> tuple[Library, FitResult, int, Choice]:
    """The library of candidates, what training did, its FLOPs, and the choice of the largest logits.

    Every step trains the weights on a training batch and the logits on a validation batch, the first-order form (eq. 7
    with xi = 0). Raises RecipeError for a space that cannot be relaxed.
    """
    space = space.unmoved
    mixed = relaxed(space, graph)
    module = lower(mixed.graph, seed=training.seed, device=device).train()
    params = dict(module.named_parameters())
    alphas = {key: params[key] for key in mixed.alphas.values()}
    weights = {key: p for key, p in params.items() if key not in alphas}
    batches = Batches(
        data.train.to(device), training.spec.batch, training.seed, Augment.from_spec(training.spec.augment)
    )
    total = training.spec.total_steps(len(batches))
    held = Batches(data.validation.to(device), training.spec.batch, training.seed).take(total)
    forward = named(module, mixed.graph)

    def unseen(batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        other = next(held)
        return {**other, **forward(other)}

    slow = replace(training.spec, optimizer="adamw", lr=_RATE, weight_decay=_DECAY, schedule="constant", warmup=0.0)
    turns = [
        Turn(forward, task.loss, weights, training.spec, "weights"),
        Turn(unseen, task.loss, alphas, slow, "alphas"),
    ]
    result = fit_turns(turns, batches, training.spec, hooks)
    state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    return (
        _library(space, graph, mixed, state),
        result,
        train_flops(mixed.graph) * sum(result.seen),
        _best(space, mixed, state),
    )


def _best(space: Space, mixed: Relaxed, state: Mapping[str, Tensor]) -> Choice:
    return {d.name: int(state[mixed.alphas[d.name]].argmax()) for d in space.decisions}


def _library(space: Space, graph: Callable[[Choice], Graph], mixed: Relaxed, state: Mapping[str, Tensor]) -> Library:
    """The mixed graph's weights, each under what candidates call it."""
    library = Library("apart")
    for choice in space.covering():
        try:
            candidate = graph(choice)
        except RecipeError:
            continue
        library.reserve([candidate])
        with torch.no_grad():
            for name, tensor in library.weights(candidate).items():
                tensor.copy_(state[mixed.key(name, choice)])
    return library
