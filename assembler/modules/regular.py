"""What keeps residual branches trainable: stochastic depth and layer scale. Dropout is torch's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assembler.registry import Shape, op


@op("drop_path")
class DropPath(nn.Module):
    """Zeroes whole samples with probability `p` in training and scales up the rest: stochastic depth (Huang, 2016).

    Any [B, ...] keeps its shape; in evaluation it is the identity. Raises ValueError unless 0 <= p < 1.
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}, but it needs to be at least 0 and less than 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * (keep / (1 - self.p))

    def extra_repr(self) -> str:
        return f"p={self.p}"


@op("layer_scale")
class LayerScale(nn.Module):
    """Times a learned scalar for every channel, small at first (Touvron et al., 2021); any [B, ...] keeps its shape.

    `axis` says where the channels are: by default axis 1 of maps [B, C, H, W] and the last one of all else.
    """

    def __init__(self, shape: Shape, init: float = 1e-5, axis: int | None = None) -> None:
        super().__init__()
        axes = len(shape)
        axis = axis if axis is not None else 1 if axes == 4 else -1
        if axis % axes == 0 or not -axes <= axis < axes:
            raise ValueError(f"axis is {axis}, but the channels of {list(shape)} are one of axes 1 to {axes - 1}")
        self.init = init
        self.spread = (1,) * (axes - 1 - axis % axes)
        self.weight = nn.Parameter(torch.empty(shape[axis]))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every scalar to `init`."""
        nn.init.constant_(self.weight, self.init)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.reshape(-1, *self.spread)

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, init={self.init}"
