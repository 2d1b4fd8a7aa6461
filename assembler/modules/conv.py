"""Convolution blocks on maps [B, C, H, W]. Odd kernels keep the size at stride 1; `out` is by default C."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Channels, op


@op("conv_bn_act")
class ConvBnAct(nn.Module):
    """Convolution, batch norm, activation: [B, C, H, W] -> [B, out, H / stride, W / stride]; null is no activation."""

    def __init__(
        self,
        channels: Channels,
        out: int | None = None,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        activation: Literal["relu", "gelu", "silu", "hardswish", "leaky_relu", "relu6"] | None = "relu",
    ) -> None:
        super().__init__()
        padding, out = (kernel_size - 1) // 2, channels if out is None else out
        self.conv = nn.Conv2d(channels, out, kernel_size, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return getattr(F, self.activation)(y) if self.activation else y

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"


@op("separable_conv")
class SeparableConv(nn.Module):
    """Depthwise, then 1x1 convolution, batch norm, activation (Chollet, 2017): [B, C, H, W] -> [B, out, H', W']."""

    def __init__(
        self,
        channels: Channels,
        out: int | None = None,
        kernel_size: int = 3,
        stride: int = 1,
        activation: Literal["relu", "gelu", "silu", "hardswish", "leaky_relu", "relu6"] | None = "relu",
    ) -> None:
        super().__init__()
        padding, out = (kernel_size - 1) // 2, channels if out is None else out
        self.depthwise = nn.Conv2d(channels, channels, kernel_size, stride, padding, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, out, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.pointwise(self.depthwise(x)))
        return getattr(F, self.activation)(y) if self.activation else y

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"


@op("squeeze_excite")
class SqueezeExcite(nn.Module):
    """Channels scaled by a gate that sees the whole map (Hu et al., 2018): [B, C, H, W] -> [B, C, H, W].

    The gate's hidden width is `ratio * C`.
    """

    def __init__(self, channels: Channels, ratio: float = 0.25) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        if hidden < 1:
            raise ValueError(f"ratio {ratio} of {channels} channels leaves no hidden layer")
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


@op("efficient_channel_attention")
class EfficientChannelAttention(nn.Module):
    """Channels scaled by a gate that sees the mean of each channel and its neighbours (ECA-Net, Wang et al., 2020).

    [B, C, H, W] -> [B, C, H, W]. All channels have one kernel, by default of |log2(C) / 2 + 1 / 2| channels, the next
    odd number. Raises ValueError for an even kernel.
    """

    def __init__(self, channels: Channels, kernel_size: int | None = None) -> None:
        super().__init__()
        size = 2 * int((math.log2(channels) + 1) / 4) + 1 if kernel_size is None else kernel_size
        if size % 2 == 0:
            raise ValueError(f"kernel_size is {size}, but a channel has as many neighbours on both sides")
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.conv(x.mean((2, 3)).unsqueeze(1)))
        return x * gate.transpose(1, 2).unsqueeze(-1)


@op("inverted_residual")
class InvertedResidual(nn.Module):
    """MobileNetV2's block (Sandler et al., 2018): widen by `ratio`, depthwise convolution, narrow to `out`.

    [B, C, H, W] -> [B, out, H / stride, W / stride]; the input is added where the shape stays.
    """

    def __init__(
        self,
        channels: Channels,
        out: int | None = None,
        kernel_size: int = 3,
        stride: int = 1,
        ratio: float = 4.0,
        activation: Literal["relu6", "relu", "gelu", "silu", "hardswish", "leaky_relu"] = "relu6",
    ) -> None:
        super().__init__()
        padding, out = (kernel_size - 1) // 2, channels if out is None else out
        hidden = int(channels * ratio)
        if hidden < 1:
            raise ValueError(f"ratio {ratio} of {channels} channels leaves no hidden layer")
        self.expand = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, kernel_size, stride, padding, groups=hidden, bias=False)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.project = nn.Conv2d(hidden, out, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        act = getattr(F, self.activation)
        hidden = act(self.norm1(self.expand(x)))
        hidden = act(self.norm2(self.depthwise(hidden)))
        y: Tensor = self.norm3(self.project(hidden))
        return x + y if y.shape == x.shape else y

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"
