"""A choice that is not made yet: all candidates, weighted by learned numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assembler.registry import Shapes, op


@op("mixture")
class Mixture(nn.Module):
    """Sum of inputs of one shape, weighted by the softmax of learned numbers (DARTS, Liu et al., 2019, eq. 2)."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(f"mixture needs inputs of one shape, got {' and '.join(str(list(s)) for s in shapes)}")
        self.alpha = nn.Parameter(torch.zeros(len(shapes)))

    def forward(self, *xs: Tensor) -> Tensor:
        y: Tensor = sum(w * x for w, x in zip(self.alpha.softmax(0), xs, strict=True))
        return y
