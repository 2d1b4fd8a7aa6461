"""What attention adds to its scores for the distance of two tokens in a sequence."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import op


@op("distance_bias")
class DistanceBias(nn.Module):
    """A learned number for each head and distance of two tokens, for the scores of attention: [1, H, N, M].

    The buckets of T5 (Raffel et al., 2020, arXiv 1910.10683): half of them for single distances, the others for ranges
    that grow up to `max_distance`. Of the inputs [B, N, D] and, if it is wired, [B, M, D] only the lengths count. A
    `bidirectional` bias tells before from after; one that is not takes every token after for the place itself.
    """

    def __init__(
        self,
        num_heads: int = 4,
        buckets: int = 32,
        max_distance: int = 128,
        bidirectional: bool = True,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        exact = (buckets // 2 if bidirectional else buckets) // 2
        if num_heads < 1 or exact < 1 or max_distance <= exact:
            raise ValueError(f"{buckets} buckets cannot tell distances up to {max_distance}; there are 4 at least")
        self.bidirectional, self.std = bidirectional, std
        self.buckets, self.exact, self.max_distance = buckets, exact, max_distance
        self.weight = nn.Parameter(torch.empty(buckets, num_heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw from a normal distribution of spread `std`."""
        nn.init.normal_(self.weight, std=self.std)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        queries = torch.arange(x.shape[1], device=x.device)
        keys = queries if context is None else torch.arange(context.shape[1], device=x.device)
        return F.embedding(self.bucket(keys[None] - queries[:, None]), self.weight).permute(2, 0, 1)[None]

    def bucket(self, distance: Tensor) -> Tensor:
        """The bucket of each distance, key less query: int64 of the same shape."""
        count = self.buckets // 2 if self.bidirectional else self.buckets
        first = (distance > 0).long() * count if self.bidirectional else torch.zeros_like(distance)
        far = distance.abs() if self.bidirectional else (-distance).clamp(min=0)
        growth = torch.log(far.float() / self.exact) / math.log(self.max_distance / self.exact)
        large = self.exact + (growth * (count - self.exact)).clamp(min=0).long()
        return first + torch.where(far < self.exact, far, large.clamp(max=count - 1))

    def extra_repr(self) -> str:
        return f"{list(self.weight.shape)}, max_distance={self.max_distance}, bidirectional={self.bidirectional}"
