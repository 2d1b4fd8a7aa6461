"""Token mixers without attention: pooling, depthwise convolution and an MLP across tokens.

Each takes maps [B, C, H, W] or tokens [B, N, D] and gives the same shape back. Where neighbourhood matters, tokens
lie row by row on `grid: [height, width]`, by default a square; `grid: [1, N]` makes a sequence of them.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.modules.patch import on_grid
from assembler.registry import Shape, op


@op("pool")
class Pool(nn.Module):
    """Mean of the neighbourhood less the input itself, PoolFormer's mixer (Yu et al., 2022); padding is not counted.

    Maps [B, C, H, W] or tokens [B, N, D] on `grid`. Raises ValueError for an even kernel or a grid that does not fit.
    """

    def __init__(self, shape: Shape, kernel_size: int = 3, grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}, but only an odd kernel keeps the size")
        if len(shape) not in (3, 4):
            raise ValueError(f"pool needs tokens [B, N, D] or maps [B, C, H, W], got {list(shape)}")
        if len(shape) == 3:
            on_grid(shape[1], grid)
        self.kernel_size, self.grid = kernel_size, grid

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.unflatten(x.transpose(1, 2), 2, on_grid(x.shape[1], self.grid)) if x.ndim == 3 else x
        mean = F.avg_pool2d(maps, self.kernel_size, 1, self.kernel_size // 2, count_include_pad=False)
        return (mean.flatten(2).transpose(1, 2) if x.ndim == 3 else mean) - x

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, grid={list(self.grid) if self.grid else None}"


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
        if len(shape) == 3:
            on_grid(shape[1], grid)
        self.grid = grid
        channels = shape[1] if len(shape) == 4 else shape[2]
        padding = dilation * (kernel_size // 2)
        self.conv = nn.Conv2d(channels, channels, kernel_size, 1, padding, dilation, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.unflatten(x.transpose(1, 2), 2, on_grid(x.shape[1], self.grid)) if x.ndim == 3 else x
        y: Tensor = self.conv(maps)
        return y.flatten(2).transpose(1, 2) if x.ndim == 3 else y

    def extra_repr(self) -> str:
        return f"grid={list(self.grid) if self.grid else None}"


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
