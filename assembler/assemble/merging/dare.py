"""DARE: task vectors survive that most of their entries are dropped (Yu et al., ICML 2024, arXiv 2311.03099)."""

from __future__ import annotations

import torch
from torch import Tensor

from assembler.assemble.merging.tensors import Tensors, agreed, fraction
from assembler.registry import merge


@merge(base=True)
def dare(at: Tensors, *, density: float = 0.1, scale: float = 1.0, elect: bool = False) -> Tensor:
    """W_base + `scale` sum_i w_i m_i (W_i - W_base) / `density`, every entry of the mask m_i being 1 with that chance.

    With `elect` the signs of the sum are elected first and only the entries that agree take part, as TIES does.
    """
    deltas = at.deltas
    chance = torch.full(deltas.shape, fraction("density", density))
    kept = deltas * torch.bernoulli(chance, generator=at.generator).to(deltas) / density
    if not elect:
        return at.moved(kept, scale)
    assert at.base is not None
    return at.base + scale * agreed(kept, at.scale, normalize=False)
