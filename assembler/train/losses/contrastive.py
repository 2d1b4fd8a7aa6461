"""Losses that tell the value that belongs to a sample from those of the other samples of the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from assembler.registry import loss


@loss
def info_nce(value: Tensor, target: Tensor, temperature: float = 0.1, symmetric: bool = True) -> Tensor:
    """InfoNCE of two views [N, ...] of N samples, flattened to unit vectors; the others of the batch are negatives.

    Cross entropy of picking a sample's own view by cosine over `temperature` (van den Oord et al. 2018, eq. 4), in
    nats: log N for values that tell nothing apart. With `symmetric` the mean of both directions (CLIP, Radford et al.
    2021, figure 3), else from value to target alone.
    """
    one, other = (functional.normalize(x.flatten(1), dim=1) for x in (value, target))
    logits = one @ other.T / temperature
    own = torch.arange(len(logits), device=logits.device)
    forth = functional.cross_entropy(logits, own)
    return (forth + functional.cross_entropy(logits.T, own)) / 2 if symmetric else forth
