"""The work of a forward pass as a score, the baseline that proxies are to be held against."""

from __future__ import annotations

from assembler.assemble.proxies.untrained import Untrained
from assembler.infer.cost import total
from assembler.registry import proxy


@proxy
def flops(model: Untrained) -> float:
    """FLOPs of a forward pass for one sample; a multiply-add is two."""
    return float(total(model.graph).flops)
