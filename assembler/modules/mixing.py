"""Token mixers without attention: pooling, depthwise convolution and an MLP across tokens.

Each takes maps [B, C, H, W] or tokens [B, N, D] and gives the same shape back. Where neighbourhood matters, tokens
lie row by row on `grid: [height, width]`, by default a square; `grid: [1, N]` makes a sequence of them.
"""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Shape, op


@op("pool")
def pool(x: Tensor, shape: Shape, kernel_size: int = 3, grid: tuple[int, int] | None = None) -> Tensor:
    """Mean of the neighbourhood less the input itself, PoolFormer's mixer (Yu et al., 2022); padding is not counted.

    Maps [B, C, H, W] or tokens [B, N, D] on `grid`. Raises ValueError for an even kernel or a grid that does not fit.
    """
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {kernel_size}, but only an odd kernel keeps the size")
    if len(shape) == 4:
        return F.avg_pool2d(x, kernel_size, 1, kernel_size // 2, count_include_pad=False) - x
    if len(shape) != 3:
        raise ValueError(f"pool needs tokens [B, N, D] or maps [B, C, H, W], got {list(shape)}")
    h, w = grid or (math.isqrt(shape[1]),) * 2
    if h * w != shape[1]:
        raise ValueError(f"{shape[1]} tokens do not fill a grid of {h} x {w}; give `grid: [height, width]`")
    maps = x.transpose(1, 2).reshape(-1, shape[2], h, w)
    mean = F.avg_pool2d(maps, kernel_size, 1, kernel_size // 2, count_include_pad=False)
    return mean.flatten(2).transpose(1, 2) - x


@op("dwconv")
class DepthwiseConv(nn.Module):
    """Convolution of every channel by itself, keeping the size: maps [B, C, H, W] or tokens [B, N, D] on `grid`.

    Raises ValueError for an even kernel or a grid that does not fit.
    """

    def __init__(
        self,
        shape: Shape,
        kernel_size: int = 3,
        dilation: int = 1,
        bias: bool = True,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if len(shape) not in (3, 4):
            raise ValueError(f"dwconv needs tokens [B, N, D] or maps [B, C, H, W], got {list(shape)}")
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}, but only an odd kernel keeps the size")
        h, w = shape[2:] if len(shape) == 4 else grid or (math.isqrt(shape[1]),) * 2
        if len(shape) == 3 and h * w != shape[1]:
            raise ValueError(f"{shape[1]} tokens do not fill a grid of {h} x {w}; give `grid: [height, width]`")
        self.grid = (h, w)
        channels = shape[1] if len(shape) == 4 else shape[2]
        padding = dilation * (kernel_size // 2)
        self.conv = nn.Conv2d(channels, channels, kernel_size, 1, padding, dilation, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        maps = x.transpose(1, 2).reshape(x.shape[0], -1, *self.grid) if x.ndim == 3 else x
        y: Tensor = self.conv(maps)
        return y.flatten(2).transpose(1, 2) if x.ndim == 3 else y


@op("token_mlp")
class TokenMlp(nn.Module):
    """MLP across tokens, the same for every feature, MLP-Mixer's mixer (Tolstikhin et al., 2021).

    Tokens [B, N, D], or maps [B, C, H, W] as H*W tokens. `hidden` is by default half of the features, as in Mixer-S
    to L. The number of tokens is fixed.
    """

    def __init__(
        self,
        shape: Shape,
        hidden: int | None = None,
        activation: Literal["gelu", "relu", "silu", "hardswish", "leaky_relu", "tanh"] = "gelu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(shape) not in (3, 4):
            raise ValueError(f"token_mlp needs tokens [B, N, D] or maps [B, C, H, W], got {list(shape)}")
        tokens, features = (shape[2] * shape[3], shape[1]) if len(shape) == 4 else shape[1:]
        hidden = max(1, features // 2) if hidden is None else hidden
        self.activation = activation
        self.fc1 = nn.Linear(tokens, hidden)
        self.fc2 = nn.Linear(hidden, tokens)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2) if x.ndim == 4 else x.transpose(1, 2)  # [B, D, N]
        hidden = self.drop(getattr(F, self.activation)(self.fc1(rows)))
        y: Tensor = self.drop(self.fc2(hidden))
        return y.reshape(x.shape) if x.ndim == 4 else y.transpose(1, 2)

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"
