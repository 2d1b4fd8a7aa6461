"""From one value to another in the course of training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assembler.registry import Shapes, op


@op("fade")
class Fade(nn.Module):
    """Goes over from the value `old` to `new` in `steps` steps of training, linearly; both of one shape, any [B, ...].

    In step t, from 0 on, it is `(1 - t / steps) * old + t / steps * new`, and `new` from step `steps` on, as the
    progressive norm of SLAB has it (Guo et al. 2024, arXiv:2405.11582, eq. 2). Calls in training are counted, with
    the weights; evaluation takes the mixture that training has come to. The rewrite `end_fades` takes out what has
    faded. Raises ValueError for `steps` below 0 or two shapes.
    """

    count: Tensor

    def __init__(self, shapes: Shapes, steps: int) -> None:
        super().__init__()
        if steps < 0:
            raise ValueError(f"steps is {steps}, but it needs to be at least 0")
        if len(set(shapes)) > 1:
            raise ValueError(f"old and new need one shape, got {' and '.join(str(list(s)) for s in shapes)}")
        self.steps = steps
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, old: Tensor, new: Tensor) -> Tensor:
        share = (self.count / max(self.steps, 1)).clamp(max=1.0) if self.steps else torch.ones_like(self.count)
        mixed = torch.lerp(old, new, share.to(old.dtype))
        if self.training:
            self.count += 1
        return mixed

    def extra_repr(self) -> str:
        return f"steps={self.steps}"
