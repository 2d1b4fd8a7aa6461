"""From maps to tokens and back."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from assembler.registry import Shape, op


@op("patch_embed")
class PatchEmbed(nn.Module):
    """Patches of a map as tokens (ViT): [B, C, H, W] -> [B, N, out], row by row.

    `out` is by default the number of values in a patch. `stride` is by default `patch_size`; a smaller one makes
    patches overlap, with padding so that N is H*W / stride**2 (an even patch at stride 1 gives one more a side).

    Raises ValueError where patches without overlap do not cover the map.
    """

    def __init__(self, shape: Shape, patch_size: int = 4, out: int | None = None, stride: int | None = None) -> None:
        super().__init__()
        if len(shape) != 4:
            raise ValueError(f"patch_embed needs maps [B, C, H, W], got {list(shape)}")
        channels, height, width = shape[1:]
        stride = patch_size if stride is None else stride
        if min(patch_size, stride) < 1:
            raise ValueError(f"patch_size and stride are at least 1, got {patch_size} and {stride}")
        if stride >= patch_size and (height % stride or width % stride):
            fit = [n for n in range(1, math.gcd(height, width) + 1) if math.gcd(height, width) % n == 0]
            raise ValueError(
                f"a map of {height} x {width} is no whole number of patches of {stride}; "
                f"patch_size may be {', '.join(map(str, fit))}, or a smaller stride makes patches overlap"
            )
        padding = max(0, patch_size - stride + 1) // 2
        out = channels * patch_size**2 if out is None else out
        self.proj = nn.Conv2d(channels, out, patch_size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.proj(x)
        return y.flatten(2).transpose(1, 2)


@op("map_to_tokens")
def map_to_tokens(x: Tensor, shape: Shape) -> Tensor:
    """Positions of a map as tokens, row by row: [B, C, H, W] -> [B, H*W, C]."""
    if len(shape) != 4:
        raise ValueError(f"map_to_tokens needs maps [B, C, H, W], got {list(shape)}")
    return x.flatten(2).transpose(1, 2)


@op("tokens_to_map")
class TokensToMap(nn.Module):
    """Tokens laid out row by row on `grid: [height, width]`, by default a square: [B, H*W, D] -> [B, D, H, W].

    Without a grid any square number of tokens will do. Raises ValueError where the tokens do not fill the grid.
    """

    def __init__(self, shape: Shape, grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"tokens_to_map needs tokens [B, N, D], got {list(shape)}")
        self.grid = grid
        on_grid(shape[1], grid)

    def forward(self, x: Tensor) -> Tensor:
        return torch.unflatten(x.transpose(1, 2), 2, on_grid(x.shape[1], self.grid))

    def extra_repr(self) -> str:
        return f"grid={list(self.grid) if self.grid else None}"


def on_grid(tokens: int, grid: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of the grid that so many tokens fill, by default a square; else it raises ValueError."""
    h, w = grid or (math.isqrt(tokens),) * 2
    if h * w != tokens:
        raise ValueError(f"{tokens} tokens do not fill a grid of {h} x {w}; give `grid: [height, width]`")
    return h, w
