"""Ops of a stranger's package, registered as the package's own are."""

from __future__ import annotations

from torch import Tensor

from assembler import op


@op("swish_clip")
def swish_clip(x: Tensor, limit: float = 6.0) -> Tensor:
    """Swish, cut off above `limit`."""
    return (x * x.sigmoid()).clamp(max=limit)
