"""Statistics that follow what they are given while a model is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assembler.registry import Features, op


@op("running_mean")
class RunningMean(nn.Module):
    """An exponential moving average of the mean of every feature: x [B, ..., D] -> [1, D], without gradient.

    In training the mean over all axes but the last enters, `decay` of what there was stays, and the average with the
    new mean comes out; evaluation gives what training has come to. It begins at zero, and the first means enter with
    equal weights, so that nothing of the zero is left. The average lies with the weights, as the buffer `mean`.

    Raises ValueError for a decay outside of [0, 1].
    """

    mean: Tensor
    count: Tensor

    def __init__(self, features: Features, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ValueError(f"decay is {decay}, but it needs to be from 0 to 1")
        self.decay = decay
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.count += 1
            share = (1.0 / self.count).clamp(min=1.0 - self.decay).to(self.mean.dtype)
            self.mean.copy_(torch.lerp(self.mean, x.detach().flatten(0, -2).mean(0).to(self.mean.dtype), share))
        return self.mean[None].clone()  # which moves later

    def extra_repr(self) -> str:
        return f"{len(self.mean)}, decay={self.decay}"
