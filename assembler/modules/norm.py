"""Normalisations that torch.nn lacks; `layer_norm`, `rms_norm`, `batch_norm2d` and `group_norm` are torch's own."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Channels, op


@op("layer_norm2d")
class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of maps, at every position by itself (ConvNeXt): [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: Channels, eps: float = 1e-6, bias: bool = True) -> None:
        super().__init__(channels, eps=eps, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)
