"""Spherical interpolation of two models' weights (Shoemake, SIGGRAPH 1985)."""

from __future__ import annotations

import torch
from torch import Tensor

from assembler.assemble.merging.tensors import Tensors
from assembler.registry import merge

_PARALLEL = 0.9995


@merge(models=2)
def slerp(at: Tensors, *, t: float = 0.5) -> Tensor:
    """The way from the first model's tensor (t = 0) to the second's (t = 1) along the arc between their directions:
    (sin((1-t) a) W_0 + sin(t a) W_1) / sin a with a the angle between them; the straight way where they are parallel.
    """
    first, second = at.models
    cosine = torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), 0).clamp(-1, 1)
    if abs(float(cosine)) > _PARALLEL:
        return torch.lerp(first, second, t)
    angle = torch.arccos(cosine)
    return (torch.sin((1 - t) * angle) * first + torch.sin(t * angle) * second) / torch.sin(angle)
