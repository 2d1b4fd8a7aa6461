"""Views of an image, drawn anew for every sample in training: flips and crops. In evaluation images stay as they are.

Called twice they make the two views of contrastive learning; once, at the beginning, the usual augmentation.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import op


@op("random_flip")
class RandomFlip(nn.Module):
    """Each sample mirrored along axis `dim` with probability `p`, in training: any [B, ...] keeps its shape.

    Raises ValueError unless 0 <= p <= 1, and for the axis of samples.
    """

    def __init__(self, p: float = 0.5, dim: int = -1) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p is {p}, but it needs to be between 0 and 1")
        if dim == 0:
            raise ValueError("axis 0 holds the samples, and each is flipped by itself")
        self.p, self.dim = p, dim

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        flipped = torch.rand(x.shape[0], device=x.device) < self.p
        return torch.where(flipped.reshape(-1, *(1,) * (x.ndim - 1)), x.flip(self.dim), x)

    def extra_repr(self) -> str:
        return f"p={self.p}, dim={self.dim}"


@op("random_crop")
class RandomCrop(nn.Module):
    """A window of the image's own size out of the image with `padding` pixels of zeros around it, in training.

    That shifts each sample of [B, C, H, W] by up to `padding` pixels either way (He et al., 2016, section 4.2).
    """

    def __init__(self, padding: int = 4) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.padding:
            return x
        samples, _, height, width = x.shape
        wide = F.pad(x, (self.padding,) * 4)
        moved = torch.randint(0, 2 * self.padding + 1, (2, samples, 1), device=x.device)
        rows = moved[0] + torch.arange(height, device=x.device)
        columns = moved[1] + torch.arange(width, device=x.device)
        sample = torch.arange(samples, device=x.device)[:, None, None]
        return wide[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        return f"padding={self.padding}"


@op("random_resized_crop")
class RandomResizedCrop(nn.Module):
    """A part of the image at its whole size, bilinearly, in training: [B, C, H, W] keeps its shape.

    The part has between `scale[0]` and `scale[1]` of the area, and is `ratio` times as wide as high, its logarithm
    drawn evenly (Szegedy et al., 2015). Raises ValueError unless 0 < low <= high for both, and scale is at most 1.
    """

    def __init__(self, scale: tuple[float, float] = (0.2, 1.0), ratio: tuple[float, float] = (0.75, 4 / 3)) -> None:
        super().__init__()
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale is {list(scale)}, but it needs to be a range above 0 and at most 1")
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"ratio is {list(ratio)}, but it needs to be a range above 0")
        self.scale, self.ratio = scale, ratio

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        area, stretch, across, down = torch.rand(4, x.shape[0], device=x.device, dtype=x.dtype)
        area = self.scale[0] + (self.scale[1] - self.scale[0]) * area
        least, most = map(math.log, self.ratio)
        stretch = torch.exp(least + (most - least) * stretch)
        width, height = (area * stretch).sqrt().clamp(max=1), (area / stretch).sqrt().clamp(max=1)
        left, top = (1 - width) * (2 * across - 1), (1 - height) * (2 * down - 1)
        none = torch.zeros_like(width)
        maps = torch.stack((width, none, left, none, height, top), dim=1).reshape(-1, 2, 3)
        grid = F.affine_grid(maps, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    def extra_repr(self) -> str:
        return f"scale={self.scale}, ratio={self.ratio}"
