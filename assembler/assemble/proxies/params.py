"""The number of parameters as a score, the baseline that proxies are to be held against."""

from __future__ import annotations

from assembler.assemble.proxies.untrained import Untrained
from assembler.infer.cost import total
from assembler.registry import proxy


@proxy
def params(model: Untrained) -> float:
    """The number of parameters."""
    return float(total(model.graph).params)
