"""Layers that are products, in the place of linear ones: they begin as the nearest product to the weight."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from assembler.assemble.weights import Weights
from assembler.graph.core import Graph
from assembler.modules.adapters import Factored


def factored(parent: Graph, weights: Mapping[str, Tensor], module: nn.Module) -> Weights:
    """Weights, by key, of a child's products at the paths of linear layers of their sizes."""
    made: Weights = {}
    for i, layer in module.named_modules():
        if not isinstance(layer, Factored) or i not in parent.nodes or parent.nodes[i].op != "linear":
            continue
        weight = weights.get(f"{i}.weight")
        if weight is not None and weight.shape == layer.size:
            made |= {f"{i}.{name}": tensor for name, tensor in layer.nearest(weight).items()}
    return made
