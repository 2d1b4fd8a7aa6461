"""TIES: trim, elect sign and merge (Yadav et al., NeurIPS 2023, arXiv 2306.01708)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assembler.assemble.merging.tensors import Tensors, agreed, fraction
from assembler.registry import merge


@merge(base=True)
def ties(at: Tensors, *, density: float = 0.2, scale: float = 1.0, normalize: bool = True) -> Tensor:
    """W_base + `scale` times the mean of the task vectors' largest entries, where these agree in sign.

    Of every task vector the `density` of its entries that are largest in magnitude stay (of each tensor, where the
    paper trims the whole model at once); the sign of an entry is that of the weighted sum, and only the models that
    have it take part. The paper uses density 0.2 and scale 1 where nothing can be tuned.
    """
    deltas = torch.stack([trimmed(delta, density) for delta in at.deltas])
    assert at.base is not None
    return at.base + scale * agreed(deltas, at.scale, normalize=normalize)


def trimmed(delta: Tensor, density: float) -> Tensor:
    """A tensor with all but the largest entries zero."""
    kept = math.ceil(fraction("density", density) * delta.numel())
    chosen = delta.flatten().abs().topk(kept).indices
    return torch.zeros_like(delta.flatten()).index_put((chosen,), delta.flatten()[chosen]).reshape(delta.shape)
