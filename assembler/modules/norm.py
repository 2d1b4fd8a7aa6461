"""Normalisations that torch.nn lacks; `layer_norm`, `rms_norm`, `batch_norm2d` and `group_norm` are torch's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Channels, Features, op


@op("layer_norm2d")
class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of maps, at every position by itself (ConvNeXt): [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: Channels, eps: float = 1e-6, bias: bool = True) -> None:
        super().__init__(channels, eps=eps, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)


@op("token_batch_norm")
class TokenBatchNorm(nn.BatchNorm1d):
    """Batch norm of the last axis, over all samples and tokens: [B, ..., D] -> [B, ..., D].

    With `skip` the input times one learned number, 1 at first, is added: RepBN (SLAB, Guo et al. 2024,
    arXiv:2405.11582, eq. 4), which the rewrites `fold_norm_skip` and `fold_batch_norm` take out again.
    """

    def __init__(self, features: Features, eps: float = 1e-5, momentum: float = 0.1, skip: bool = False) -> None:
        super().__init__(features, eps, momentum)
        self.skip = nn.Parameter(torch.ones(())) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x.flatten(0, -2)).reshape(x.shape)
        return y if self.skip is None else y + self.skip * x
