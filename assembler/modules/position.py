"""Where a token stands: learned and sinusoidal positions, the class token, and reading one vector off the tokens."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from assembler.registry import Features, Shape, op


@op("learned_position")
class LearnedPosition(nn.Module):
    """Adds a learned tensor to every sample, one value for each of its elements; any [B, ...] keeps its shape."""

    def __init__(self, shape: Shape, std: float = 0.02) -> None:
        super().__init__()
        self.std = std
        self.weight = nn.Parameter(torch.empty(1, *shape[1:]))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw from a normal distribution of spread `std`, cut at two units."""
        nn.init.trunc_normal_(self.weight, std=self.std)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight

    def extra_repr(self) -> str:
        return f"shape={list(self.weight.shape[1:])}, std={self.std}"


@op("sincos_position")
class SincosPosition(nn.Module):
    """Adds fixed sines and cosines of the position, nothing learned (Vaswani et al., 2017); the shape stays.

    Tokens [B, N, D] are a sequence, or with `grid: [height, width]` the row-by-row positions of a grid; maps
    [B, C, H, W] are their own grid. On a grid half of the features tell the row, half the column (MAE). The first
    half of the features of an axis are sines, the second cosines. Positions are computed for what comes, whatever its
    length, in float32.

    Raises ValueError where the features do not split so, or the tokens do not fill the grid.
    """

    def __init__(self, shape: Shape, grid: tuple[int, int] | None = None, temperature: float = 10000.0) -> None:
        super().__init__()
        if len(shape) not in (3, 4):
            raise ValueError(f"sincos_position needs tokens [B, N, D] or maps [B, C, H, W], got {list(shape)}")
        self.features, self.grid, self.temperature = shape[1 if len(shape) == 4 else 2], grid, temperature
        parts = 4 if grid or len(shape) == 4 else 2
        if self.features % parts:
            raise ValueError(f"{self.features} features do not split into the {parts} equal parts of sines and cosines")
        if len(shape) == 3 and grid and math.prod(grid) != shape[1]:
            raise ValueError(f"{shape[1]} tokens do not fill a grid of {grid[0]} x {grid[1]}")

    def position(self, x: Tensor) -> Tensor:
        """What is added to each sample, of its shape."""
        if x.ndim == 4:
            return self.places(x.shape[2], x.shape[3], x.device).permute(2, 0, 1)
        if self.grid is None:
            return self.waves(x.shape[1], self.features, x.device)
        return self.places(*self.grid, x.device).flatten(0, 1)

    def places(self, h: int, w: int, device: torch.device) -> Tensor:
        """The positions on a grid, [H, W, D]."""
        rows = self.waves(h, self.features // 2, device)[:, None].expand(h, w, -1)
        columns = self.waves(w, self.features // 2, device)[None].expand(h, w, -1)
        return torch.cat([rows, columns], 2)

    def waves(self, length: int, features: int, device: torch.device) -> Tensor:
        """Sines and cosines of positions 0 to `length` - 1, [length, features]."""
        steps = torch.arange(features // 2, device=device)
        rates = torch.exp(steps * (-2 * math.log(self.temperature) / features))
        angles = torch.arange(length, device=device)[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.position(x).to(x.dtype)

    def extra_repr(self) -> str:
        return f"features={self.features}, grid={self.grid}"


@op("class_token")
class ClassToken(nn.Module):
    """Puts one learned token before the others (ViT): [B, N, D] -> [B, N + 1, D]."""

    def __init__(self, features: Features, std: float = 0.02) -> None:
        super().__init__()
        self.std = std
        self.weight = nn.Parameter(torch.empty(1, 1, features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw from a normal distribution of spread `std`, cut at two units."""
        nn.init.trunc_normal_(self.weight, std=self.std)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.weight.expand(x.shape[0], -1, -1).to(x.dtype), x], 1)

    def extra_repr(self) -> str:
        return f"features={self.weight.shape[2]}"


@op("token_pool")
def token_pool(x: Tensor, shape: Shape, mode: Literal["mean", "first"] = "mean") -> Tensor:
    """The mean of the tokens or the first of them (the class token): [B, N, D] -> [B, D]."""
    if len(shape) != 3:
        raise ValueError(f"token_pool needs tokens [B, N, D], got {list(shape)}")
    return x.mean(1) if mode == "mean" else x[:, 0]
