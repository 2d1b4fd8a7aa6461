"""The norm of the first gradient (Abdelfattah et al., ICLR 2021, arXiv 2101.08134)."""

from __future__ import annotations

from assembler.assemble.proxies.untrained import Untrained
from assembler.registry import proxy


@proxy
def grad_norm(model: Untrained) -> float:
    """The sum over the parameters of ||dL/dtheta||_2, the loss L being that of one batch in training mode."""
    return float(sum(g.norm() for _, g in model.gradients(model.module())))
