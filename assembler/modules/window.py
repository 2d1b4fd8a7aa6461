"""What attention inside windows of a map adds to its scores; `rearrange` makes the windows and `roll` shifts them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assembler.registry import op


@op("relative_position_bias")
class RelativePositionBias(nn.Module):
    """Learned scores for each head and offset between two places of a grid (Swin): any input -> [1, heads, N, N].

    The N = height * width places lie row by row on `grid: [height, width]`; the input tells nothing but the device.
    Rows are queries, columns keys (Liu et al., 2021, arXiv 2103.14030, eq. 4).
    """

    index: Tensor

    def __init__(self, num_heads: int, grid: tuple[int, int], std: float = 0.02) -> None:
        super().__init__()
        self.grid, self.std = grid, std
        self.weight = nn.Parameter(torch.empty((2 * grid[0] - 1) * (2 * grid[1] - 1), num_heads))
        self.register_buffer("index", torch.empty((grid[0] * grid[1],) * 2, dtype=torch.int64), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the scores from a normal distribution of spread `std`, cut at two units; fill in which is whose."""
        nn.init.trunc_normal_(self.weight, std=self.std)
        (h, w), device = self.grid, self.index.device
        rows = torch.arange(h, device=device).repeat_interleave(w)
        columns = torch.arange(w, device=device).repeat(h)
        down, right = (x[:, None] - x[None] for x in (rows, columns))  # [N, N]
        self.index = (down + h - 1) * (2 * w - 1) + right + w - 1

    def forward(self, x: Tensor) -> Tensor:
        return self.weight[self.index].permute(2, 0, 1)[None]

    def extra_repr(self) -> str:
        return f"num_heads={self.weight.shape[1]}, grid={list(self.grid)}, std={self.std}"


@op("shifted_window_mask")
class ShiftedWindowMask(nn.Module):
    """Scores for attention inside windows of a map that was rolled, apart where the map is: -> [1, nW, heads, N, N].

    To scores [1, heads, N, N] for the N = `window`**2 places of a window it adds `value` wherever the roll by `-shift`
    brought two places into one of the nW windows that are no neighbours in the map of `grid: [height, width]` (Swin:
    Liu et al., 2021, section 3.2). Without a
    shift it adds nothing: [1, 1, heads, N, N]. Raises ValueError where windows do not fill the grid or the shift is no
    part of one.
    """

    mask: Tensor

    def __init__(self, grid: tuple[int, int], window: int, shift: int, value: float = -100.0) -> None:
        super().__init__()
        if window < 1 or grid[0] % window or grid[1] % window:
            raise ValueError(f"a map of {grid[0]} x {grid[1]} is no whole number of windows of {window} x {window}")
        if not 0 <= shift < window:
            raise ValueError(f"shift is {shift}, but it needs to be from 0 to {window - 1}, less than the window")
        self.grid, self.window, self.shift, self.value = grid, window, shift, value
        windows, places = grid[0] * grid[1] // window**2, window**2
        self.register_buffer("mask", torch.empty(1, windows, 1, places, places), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill in which places are kept apart."""
        rows, columns = (self.regions(n) for n in self.grid)
        regions = 3 * rows[:, None] + columns[None]  # [H, W]
        windows = regions.unfold(0, self.window, self.window).unfold(1, self.window, self.window)
        marks = windows.reshape(-1, self.window**2)  # [nW, N]
        apart = marks[:, None, :] != marks[:, :, None]
        self.mask = (apart * self.value)[None, :, None]

    def regions(self, length: int) -> Tensor:
        """For every place of an axis after the roll, which stretch of the map it is from: 0, 1 or 2."""
        places = torch.arange(length, device=self.mask.device)
        return (places >= length - self.window).long() + (places >= length - self.shift).long()

    def forward(self, x: Tensor) -> Tensor:
        return x[:, None] + self.mask if self.shift else x[:, None]

    def extra_repr(self) -> str:
        return f"grid={list(self.grid)}, window={self.window}, shift={self.shift}, value={self.value}"
