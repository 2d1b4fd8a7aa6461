"""The branch that adds nothing; the branch that changes nothing is torch's `identity`."""

from __future__ import annotations

import torch
from torch import Tensor

from assembler.registry import op


@op("zero")
def zero(x: Tensor) -> Tensor:
    """Zeros of the input's shape: the body of a residual step that is to do nothing. No gradient passes."""
    return torch.zeros_like(x)
