"""A drawn recipe as everything that is compared: its document, graph, compiled module and reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from interpreter import Reference, Values, leaves, packed
from torch import Tensor, nn

from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.recipe.document import parse
from assembler.wiring.build import build

BATCH = 3
"""Not the batch that shapes are inferred with, so that nothing may depend on that."""


def graph_of(text: str) -> Graph:
    """The graph of a recipe's text."""
    return build(parse(text, "drawn.yaml").model)


@dataclass
class Pair:
    """A graph compiled, and its reference with the same weights, both in double precision."""

    graph: Graph
    compiled: nn.Module
    reference: Reference

    @staticmethod
    def of(graph: Graph) -> Pair:
        compiled = lower(graph).double()
        state = {k: v.detach().clone() for k, v in compiled.state_dict().items()}
        return Pair(graph, compiled, Reference(graph, state))

    def inputs(self) -> Values:
        """Drawn inputs by dotted name."""
        made: Values = {}
        for name, kind in self.graph.inputs:
            size = (BATCH, *kind.shape[1:])
            made[name] = torch.randint(0, 2, size) if kind.dtype == "int64" else torch.randn(size, dtype=torch.double)
        return made


def run(compiled: nn.Module, given: Values) -> Values:
    """The outputs of a compiled module by dotted name."""
    made: Any = compiled(**packed(given))
    return dict(leaves(made)) if isinstance(made, dict) else {"": made}


def gradients(made: Values, wanted: dict[str, Tensor]) -> dict[str, Tensor | None]:
    """Gradients of a fixed weighted sum of all outputs, by the name of what they are for."""
    generator = torch.Generator().manual_seed(7)
    total = torch.zeros((), dtype=torch.double)
    for value in made.values():
        if value.requires_grad:
            total = total + (value * torch.randn(value.shape, generator=generator, dtype=torch.double)).sum()
    free = {name: x for name, x in wanted.items() if x.requires_grad}
    if not total.requires_grad or not free:
        return {}
    found = torch.autograd.grad(total, list(free.values()), allow_unused=True)
    return {name: g for name, g in zip(free, found, strict=True)}
