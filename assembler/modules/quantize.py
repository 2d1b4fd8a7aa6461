"""Quantisers: vectors to the nearest of a codebook, or numbers to a fixed grid, gradients passed straight through.

Each takes maps [B, C, ...] of four or five axes, channels on axis 1, or tokens [B, N, D] and vectors [B, D], features
last. `codes` are int64, of the input's shape without that axis. Losses have one value for each sample, [B].
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Shape, op


@op("vector_quantize", outputs=("quantized", "codes", "commitment", "codebook"))
class VectorQuantize(nn.Module):
    """The nearest of `num_codes` learned vectors, VQ-VAE's bottleneck (van den Oord et al., 2017, arXiv 1711.00937).

    `quantized` has rows of the codebook and passes its gradient to the input unchanged. `commitment` [B] is the mean
    squared distance of the input from its codes, which are held; `codebook` [B] that of the codes from the input, which
    is held (equation 3, without beta). With `update: ema` the codebook is a buffer that follows the running mean of
    what it is given in training (appendix A.1, with `decay`), and `codebook` carries no gradient. Its `weight` is
    [num_codes, D], as an embedding's. Raises ValueError for an input without features.
    """

    weight: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        shape: Shape,
        num_codes: int = 512,
        update: Literal["gradient", "ema"] = "gradient",
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        if len(shape) < 2:
            raise ValueError(f"vector_quantize needs [B, D], [B, N, D] or [B, C, H, W], got {list(shape)}")
        if num_codes < 1 or not 0 <= decay < 1:
            raise ValueError(f"num_codes is at least 1 and decay from 0 to below 1, got {num_codes} and {decay}")
        self.axis = 1 if len(shape) > 3 else -1
        self.update, self.decay = update, decay
        codebook = torch.empty(num_codes, shape[self.axis])
        if update == "ema":
            self.register_buffer("weight", codebook)
            self.register_buffer("counts", torch.empty(num_codes))
            self.register_buffer("sums", torch.empty_like(codebook))
        else:
            self.weight = nn.Parameter(codebook)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the codebook uniformly from -1/num_codes to 1/num_codes, as VQ-VAE's own code does."""
        nn.init.uniform_(self.weight, -1 / len(self.weight), 1 / len(self.weight))
        if self.update == "ema":
            nn.init.ones_(self.counts)
            with torch.no_grad():
                self.sums.copy_(self.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows = x.movedim(self.axis, -1)  # [B, ..., D]
        with torch.no_grad():
            distances = self.weight.square().sum(1) - 2 * rows @ self.weight.t()  # less the rows' own squares
            codes = distances.argmin(-1)
        found = F.embedding(codes, self.weight).movedim(-1, self.axis)
        if self.training and self.update == "ema":
            self.follow(rows.detach().flatten(0, -2), codes.flatten())
        commitment = (x - found.detach()).square().flatten(1).mean(1)
        codebook = (found - x.detach()).square().flatten(1).mean(1)
        return x + (found - x).detach(), codes, commitment, codebook

    @torch.no_grad()
    def follow(self, rows: Tensor, codes: Tensor) -> None:
        """Move the codebook to the running mean of the rows [M, D] that fell to each code [M]."""
        chosen = F.one_hot(codes, len(self.weight)).to(rows.dtype)  # [M, num_codes]
        self.counts.lerp_(chosen.sum(0), 1 - self.decay)
        self.sums.lerp_(chosen.t() @ rows, 1 - self.decay)
        total = self.counts.sum()
        held = (self.counts + 1e-5) / (total + len(self.weight) * 1e-5) * total  # a code nobody chose divides by no 0
        self.weight.copy_(self.sums / held[:, None])

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}, update={self.update!r}"


@op("fsq", outputs=("quantized", "codes"))
class FiniteScalarQuantize(nn.Module):
    """Each channel rounded to one of its `levels` numbers, nothing learned (Mentzer et al., 2023, arXiv 2309.15505).

    The input has as many channels as there are levels; `quantized` lies in [-1, 1] and passes gradients through the
    rounding. `codes` count from 0 to the product of the levels less 1, the first channel fastest.

    Raises ValueError where the channels are not as many as the levels, or a level is below 2.
    """

    def __init__(self, shape: Shape, levels: tuple[int, ...] = (8, 5, 5, 5)) -> None:
        super().__init__()
        axis = 1 if len(shape) > 3 else -1
        if shape[axis] != len(levels) or min(levels) < 2:
            raise ValueError(
                f"fsq rounds one channel to each of its levels, all at least 2; the input {list(shape)} has "
                f"{shape[axis]} channels and levels is {list(levels)}"
            )
        self.levels, self.axis = tuple(levels), axis

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        rows = x.movedim(self.axis, -1)
        half = rows.new_tensor([(n - 1) * (1 - 1e-3) / 2 for n in self.levels])
        offset = rows.new_tensor([0.0 if n % 2 else 0.5 for n in self.levels])
        bounded = torch.tanh(rows + torch.tan(offset / half)) * half - offset  # the paper's `bound`, appendix A.1
        whole = bounded + (bounded.round() - bounded).detach()
        middle = rows.new_tensor([n // 2 for n in self.levels])
        places = torch.tensor([math.prod(self.levels[:i]) for i in range(len(self.levels))], device=x.device)
        codes = ((whole.detach().round() + middle).long() * places).sum(-1)
        return (whole / middle).movedim(-1, self.axis), codes

    def extra_repr(self) -> str:
        return f"levels={list(self.levels)}"


@op("binary_quantize", outputs=("quantized", "codes"))
class BinaryQuantize(nn.Module):
    """The sign of each channel, -1 or 1, gradients passed through (lookup-free; Yu et al., 2023, arXiv 2310.05737).

    `codes` read the signs as the bits of a number, the first channel the lowest bit. Raises ValueError for more than 62
    channels, whose codes int64 does not hold.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.axis = 1 if len(shape) > 3 else -1
        if shape[self.axis] > 62:
            raise ValueError(f"{shape[self.axis]} channels make codes of more than 62 bits")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        positive = x > 0
        signs = positive.to(x.dtype) * 2 - 1
        rows = positive.movedim(self.axis, -1).long()
        bits = torch.arange(rows.shape[-1], device=x.device)
        return x + (signs - x).detach(), (rows << bits).sum(-1)
