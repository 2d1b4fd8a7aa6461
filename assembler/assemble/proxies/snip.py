"""SNIP: how much of the loss hangs on the weights, one by one (Lee et al., ICLR 2019, arXiv 1810.02340)."""

from __future__ import annotations

from assembler.assemble.proxies.untrained import Untrained
from assembler.registry import proxy


@proxy
def snip(model: Untrained) -> float:
    """Connection sensitivity, the sum of |theta * dL/dtheta| over all weights, the loss L being that of one batch in
    training mode (Lee et al., 2019, eq. 4 before it is normalised)."""
    return float(sum((p.detach() * g).abs().sum() for p, g in model.gradients(model.module())))
