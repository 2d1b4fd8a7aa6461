"""Masks of tokens: some of them kept with their places, and put back among fillers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assembler.registry import Shape, Shapes, op


@op("random_mask", outputs=("kept", "indices", "mask"))
class RandomMask(nn.Module):
    """Some tokens of each sample, drawn at random: [B, N, D] -> [B, K, D] with K = N (1 - ratio), rounded down.

    MAE's masking (He et al., 2022, arXiv 2111.06377). `indices` [B, K] are the places of the kept tokens, in order;
    `mask` [B, N] is 1 where a token was removed. Those with the least `noise` [B, N] are kept, where that input is
    wired; otherwise it is drawn in training, and in evaluation the kept ones are spread evenly, the same every time.
    Raises ValueError where no token or less than none would be removed, or none kept.
    """

    def __init__(self, shape: Shape, ratio: float = 0.75) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"random_mask needs tokens [B, N, D], got {list(shape)}")
        self.ratio = ratio
        if not 0 <= ratio < 1 or self.kept(shape[1]) < 1:
            raise ValueError(f"ratio is {ratio}, which keeps none or more than all of {shape[1]} tokens")

    def forward(self, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        ranked = self.draw(x[..., 0]) if noise is None else noise
        indices = ranked.argsort(1)[:, : self.kept(x.shape[1])].sort(1).values
        mask = torch.ones_like(x[..., 0]).scatter(1, indices, 0.0)
        return x.gather(1, indices[..., None].expand(-1, -1, x.shape[2])), indices, mask

    def kept(self, tokens: int) -> int:
        """How many of so many tokens are kept."""
        return int(tokens * (1 - self.ratio) + 1e-6)

    def draw(self, x: Tensor) -> Tensor:
        """A number from 0 to 1 for every token: at random, or in evaluation the multiples of the golden ratio."""
        if self.training:
            return torch.rand_like(x, memory_format=torch.contiguous_format)
        places = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
        return torch.remainder(places * 0.6180339887, 1.0).expand(x.shape[0], -1)

    def extra_repr(self) -> str:
        return f"ratio={self.ratio}"


@op("unmask")
def unmask(tokens: Tensor, indices: Tensor, fill: Tensor, *, shapes: Shapes, length: int | None = None) -> Tensor:
    """Tokens [B, K, D] at their places `indices` [B, K] among fillers: [B, N, D], the inverse of `random_mask`.

    `fill` is one token for all other places ([D], [1, D], [1, 1, D]), with `length` for N, or one for each place
    ([N, D], [1, N, D], [B, N, D]). Raises ValueError where N is not told.
    """
    filler = shapes[2]
    places = length if length is not None else filler[-2] if len(filler) > 1 else 0
    if len(shapes[0]) != 3 or places < shapes[0][1]:
        raise ValueError(f"{list(shapes[0])} cannot be put among {places} places; give `length`, the number of tokens")
    places = length if length is not None else fill.shape[-2]  # of this call, not of the shapes it was built for
    whole = fill.expand(tokens.shape[0], places, shapes[0][2]).to(tokens.dtype)
    return whole.scatter(1, indices[..., None].expand(-1, -1, shapes[0][2]), tokens)
