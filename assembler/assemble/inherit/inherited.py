"""The weights that a child begins with: its parent's where a step is the same, the nearest to them elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from assembler.assemble.inherit.account import Account, Fate
from assembler.assemble.inherit.channels import origins
from assembler.assemble.inherit.factors import factored
from assembler.assemble.inherit.matching import matched, owner_of, sizes
from assembler.assemble.inherit.quiet import quiet
from assembler.assemble.inherit.resize import resized
from assembler.assemble.weights import Weights
from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.infer.shape import shapes


def inherited(
    parent: Graph,
    weights: Mapping[str, Tensor],
    child: Graph,
    *,
    seed: int = 0,
    known: Mapping[str, str] | None = None,
) -> tuple[Weights, Account]:
    """The `state_dict` of `child`, made of that of `parent`, and the account of it.

    Steps that the difference of the graphs leaves alone, or only names or places otherwise, keep their weights, and so
    do weights that keep their names while their step goes into the body of another, or out of it. Those whose sizes
    differ are grown so that the function stays (Net2Net) or sliced; products in the place of linear layers begin as the
    nearest to them, new residual branches and layers in between as if they were not there; what is left has the weights
    that `seed` draws. The function stays as it is in evaluation where widths grow by whole factors, or no norm reads
    across the channels, kernels grow with their padding, and nothing was sliced or newly drawn. `known` says of steps
    of the child which they were, whatever the difference of the graphs says.
    """
    module = lower(child, seed=seed)
    fresh = module.state_dict()
    thin = factored(parent, weights, module)
    same = {i: i for i in (owner_of(key, child) for key in thin)}
    pairs = {**matched(parent, child, sizes(parent, weights), sizes(child, fresh)), **same, **(known or {})}
    channels = origins(parent, child, pairs, shapes(parent), shapes(child))
    silent = quiet(parent, child, pairs, module)
    made: Weights = {}
    fates: dict[str, Fate] = {}
    for key, tensor in fresh.items():
        i = owner_of(key, child)
        old = weights.get(f"{pairs[i]}{key[len(i) :]}") if i in pairs else _namesake(key, i, parent, weights, tensor)
        if key in thin:
            made[key], fates[key] = thin[key].to(tensor.dtype), "factored"
        elif old is None or old.ndim != tensor.ndim:
            made[key], fates[key] = (silent[key], "identity") if key in silent else (tensor, "initialised")
        elif old.shape == tensor.shape:
            made[key], fates[key] = old.to(tensor.dtype), "copied"
        else:
            flow = next((channels.get(s) for s in child.nodes[i].sources), None), channels.get(i)
            made[key], fates[key] = resized(old, tensor.shape, _layer(module, key), key, flow, seed)
    tie(child, made)
    moved = {i: j for i, j in pairs.items() if i != j}
    return {key: tensor.detach().clone() for key, tensor in made.items()}, Account(fates, moved)


def _namesake(key: str, i: str, parent: Graph, weights: Mapping[str, Tensor], tensor: Tensor) -> Tensor | None:
    """The parent's weight of the same name and shape that lies in another step: in the body of one, or out of it."""
    old = weights.get(key)
    same = old is not None and old.shape == tensor.shape and owner_of(key, parent) != i
    return old if same else None


def _layer(module: nn.Module, key: str) -> nn.Module:
    return module.get_submodule(key.rpartition(".")[0])


def tie(graph: Graph, made: Weights) -> None:
    """Give each tensor that a step shares with another that one's values."""
    for i, node in graph:
        for name, path in node.share:
            key = f"{i}.{name}"
            if name and key in made and path in made and made[path].shape == made[key].shape:
                made[key] = made[path]
