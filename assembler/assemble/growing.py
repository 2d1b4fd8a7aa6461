"""A larger model's beginning, learned on the data: the linear map from a smaller model's weights is trained (LiGO)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from assembler.assemble.fitting import Bench
from assembler.assemble.frozen import compared, own_values
from assembler.assemble.inherit.account import Account
from assembler.assemble.inherit.learned import Grown
from assembler.assemble.judging import watched
from assembler.assemble.models import Model, Training
from assembler.assemble.weights import Weights
from assembler.graph.core import Graph
from assembler.infer.cost import train_flops
from assembler.train.data.core import Data


def grown(
    parent: Model,
    graph: Graph,
    data: Data,
    training: Training,
    teachers: Mapping[str, Model] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Weights, Account, int]:
    """The weights that a larger graph begins with, the account of what the map began as, and the FLOPs that it took.

    What is trained, on the objective and with the settings of `training`, is the map alone: a mix of the parent's
    blocks for each tensor, a map of the channels that a layer makes and reads for each kind of layer.
    """
    teachers = teachers or {}
    whole, names = watched(graph, own_values(training.needs, teachers, graph, data))
    module = Grown(parent.graph, parent.weights, whole, training.seed).to(device)
    frozen = compared(teachers, training.needs, device=device, given=training.objective.given)
    bench = Bench(module.train(), whole, frozen, device, names)
    fitted = bench.fit(dict(module.learnt.named_parameters()), data, training)
    steps = math.ceil(fitted.result.samples / training.spec.batch)
    # A map is applied once a step, and its gradient costs twice that.
    spent = train_flops(graph) * fitted.result.samples + 3 * module.flops * steps + fitted.beside
    with torch.no_grad():
        made = {name: tensor.detach().cpu().clone() for name, tensor in module.made().items()}
    return made, module.account, spent
