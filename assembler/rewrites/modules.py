"""Rewrites of compiled modules: a new module of the rewritten graph, with the old one's weights carried over."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from assembler.compile.lower import lower
from assembler.compile.model import graph_of
from assembler.graph.core import Graph
from assembler.rewrites.core import Rewrite
from assembler.rewrites.drive import ALL, rewritten


def rewritten_module(module: nn.Module, rewrite: Rewrite, at: str = ALL) -> nn.Module:
    """A new module after a rewrite; the given one stays as it is, and no memory is shared with it.

    Mode, dtype, device and what is trained are those of the given one. Raises InputError for a module that `build` or
    `lower` did not make, GraphError where `at` means no site.
    """
    graph = graph_of(module, "rewrite")
    new, state = rewritten(graph, rewrite, module.state_dict(), at)
    assert state is not None
    made = filled(new, state).train(module.training)
    trained = {name: p.requires_grad for name, p in module.named_parameters()}
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(trained.get(name, parameter.requires_grad))
    return made


def filled(graph: Graph, state: Mapping[str, Tensor]) -> nn.Module:
    """The module of a graph with these weights, in their dtype and on their device."""
    made = lower(graph)
    with torch.no_grad():
        for name, tensor in (*made.named_parameters(), *made.named_buffers()):
            if name in state:
                tensor.data = tensor.data.to(state[name].device, state[name].dtype)
    made.load_state_dict(state)
    return made
