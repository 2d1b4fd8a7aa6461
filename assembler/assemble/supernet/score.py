"""What a candidate is worth with the weights of a library: its validation, without any training."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from assembler.assemble.judging import score
from assembler.assemble.models import Task, named
from assembler.assemble.supernet.library import Library
from assembler.assemble.weights import Weights
from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.train.data.batches import Batches
from assembler.train.data.core import Data
from assembler.train.evaluate import Forward

_BATCHES = 8  # of training samples that running statistics are taken from
_SIZE = 128


def score_candidate(
    library: Library, graph: Graph, data: Data, task: Task, device: torch.device | str = "cpu"
) -> tuple[float, float]:
    """(metric, loss) of a candidate on the validation split.

    Running statistics are those of other candidates too, so they are taken anew from training samples (Guo et al.,
    2020, section 3.4).
    """
    module = lower(graph, seed=0)
    module.load_state_dict(candidate_weights(library, graph))
    module.to(device)
    forward = named(module, graph)
    calibrate(module, forward, data, device)
    return score(module, graph, data.validation.to(device), task, f"the validation loss of {graph.name}")


def candidate_weights(library: Library, graph: Graph) -> Weights:
    """A copy of the weights that a library has for a candidate."""
    return {name: tensor.detach().clone() for name, tensor in library.weights(graph).items()}


def calibrate(module: nn.Module, forward: Forward, data: Data, device: torch.device | str = "cpu") -> None:
    """Take the running statistics of batch norms from training samples, in the order of seed 0."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    kept = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    module.train()
    batches = Batches(data.train.to(device), min(_SIZE, len(data.train)), 0)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for batch in itertools.islice(batches.take(_BATCHES), _BATCHES):
            forward(batch)
    module.eval()
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
