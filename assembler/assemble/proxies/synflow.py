"""SynFlow: how much signal flows through all weights together (Tanaka et al., NeurIPS 2020, arXiv 2006.05467)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assembler.assemble.proxies.untrained import Untrained
from assembler.registry import proxy


@proxy
def synflow(model: Untrained) -> float:
    """Synaptic flow, sum of |theta * dR/dtheta| over the weights, where R is the sum of the outputs for inputs of ones
    through the model with |theta| in place of its weights, in evaluation mode (Tanaka et al., 2020, eq. 2 and 3).

    It needs no data. Inputs of whole numbers are the batch's.
    """
    module = model.module().double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()
    ones = {n: torch.ones_like(t[:1]).double() if t.is_floating_point() else t[:1] for n, t in model.batch.items()}
    total = sum((v.sum() for v in model.values(module, ones).values() if v.is_floating_point()), torch.zeros(()))
    return _flow(module, total)


def _flow(module: nn.Module, total: Tensor) -> float:
    params = [p for p in module.parameters() if p.requires_grad]
    if not total.requires_grad:
        return 0.0
    found = torch.autograd.grad(total, params, allow_unused=True)
    return float(sum((p.detach() * g).abs().sum() for p, g in zip(params, found, strict=True) if g is not None))
