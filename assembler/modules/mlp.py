"""Feed-forward blocks: over the last axis, over the channels of maps, and gated."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Channels, Features, op


@op("mlp")
class Mlp(nn.Module):
    """Two linear layers with an activation between, over the last axis: [..., D] -> [..., out].

    The hidden width is `ratio * D`; `out` is by default D.
    """

    def __init__(
        self,
        features: Features,
        ratio: float = 4.0,
        activation: Literal["gelu", "relu", "silu", "hardswish", "leaky_relu", "tanh"] = "gelu",
        dropout: float = 0.0,
        out: int | None = None,
    ) -> None:
        super().__init__()
        hidden = int(features * ratio)
        if hidden < 1:
            raise ValueError(f"ratio {ratio} of {features} features leaves no hidden layer")
        self.activation = activation
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, features if out is None else out)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(getattr(F, self.activation)(self.fc1(x)))
        y: Tensor = self.drop(self.fc2(hidden))
        return y

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"


@op("conv_mlp")
class ConvMlp(nn.Module):
    """The MLP of a map's channels, as two 1x1 convolutions: [B, C, H, W] -> [B, out, H, W].

    The hidden width is `ratio * C`; `out` is by default C.
    """

    def __init__(
        self,
        channels: Channels,
        ratio: float = 4.0,
        activation: Literal["gelu", "relu", "silu", "hardswish", "leaky_relu", "tanh"] = "gelu",
        dropout: float = 0.0,
        out: int | None = None,
    ) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        if hidden < 1:
            raise ValueError(f"ratio {ratio} of {channels} channels leaves no hidden layer")
        self.activation = activation
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels if out is None else out, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(getattr(F, self.activation)(self.fc1(x)))
        y: Tensor = self.drop(self.fc2(hidden))
        return y

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"


@op("gated_mlp")
class GatedMlp(nn.Module):
    """MLP whose hidden layer is gated, SwiGLU by default (Shazeer, 2020): [..., D] -> [..., out].

    The hidden width is `ratio * D * 2 / 3`, so that it costs what `mlp` of the same ratio does; `out` is by default D.
    """

    def __init__(
        self,
        features: Features,
        ratio: float = 4.0,
        activation: Literal["silu", "gelu", "relu", "sigmoid", "tanh"] = "silu",
        dropout: float = 0.0,
        bias: bool = False,
        out: int | None = None,
    ) -> None:
        super().__init__()
        hidden = int(features * ratio * 2 / 3)
        if hidden < 1:
            raise ValueError(f"ratio {ratio} of {features} features leaves no hidden layer")
        self.activation = activation
        self.gate = nn.Linear(features, hidden, bias=bias)
        self.up = nn.Linear(features, hidden, bias=bias)
        self.down = nn.Linear(hidden, features if out is None else out, bias=bias)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        gate = getattr(F, self.activation)(self.gate(x))
        y: Tensor = self.drop(self.down(gate * self.up(x)))
        return y

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"
