"""Clusters that follow what they are given while a model is trained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Shape, op


@op("spherical_kmeans", outputs=("scores", "commitment", "centroids"))
class SphericalKMeans(nn.Module):
    """How far vectors point along the `clusters` centroids of an online k-means on the sphere.

    x [B, N, D], or [B, H, N, D] with centroids of its own for each head -> `scores` [B, N, K] or [B, H, N, K], the
    cosines, `commitment` [B], the mean squared distance of the vectors, at length 1, from their nearest centroids, and
    the `centroids` [H, K, D] themselves.
    In training each centroid follows the mean of the vectors nearest to it, `decay` of it stays at every step, and it
    is brought back to length 1; without vectors it stays. Centroids get no gradient and begin at random (Routing
    Transformer, Roy et al. 2021, arXiv 2003.05997, eq. 11 to 13).

    Raises ValueError for other axes.
    """

    centroids: Tensor

    def __init__(self, shape: Shape, clusters: int = 8, decay: float = 0.999) -> None:
        super().__init__()
        if len(shape) not in (3, 4):
            raise ValueError(f"spherical_kmeans needs [B, N, D] or [B, heads, N, D], got {list(shape)}")
        if clusters < 1 or not 0 <= decay <= 1:
            raise ValueError(f"clusters is at least 1 and decay from 0 to 1, got {clusters} and {decay}")
        self.decay = decay
        self.register_buffer("centroids", torch.empty(shape[1] if len(shape) == 4 else 1, clusters, shape[-1]))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw directions, all equally likely."""
        self.centroids.copy_(F.normalize(torch.randn_like(self.centroids), dim=-1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        unit = F.normalize(x, dim=-1)
        rows = unit if x.ndim == 4 else unit[:, None]
        centroids = self.centroids.clone() if self.training else self.centroids  # which move below
        scores = torch.einsum("bhnd,hkd->bhnk", rows, centroids)
        best, codes = scores.max(-1)
        if self.training:
            self.follow(rows.detach(), codes)
        commitment = (2 - 2 * best).flatten(1).mean(1)  # |u - c|^2 of vectors of length 1
        return scores if x.ndim == 4 else scores[:, 0], commitment, centroids

    @torch.no_grad()
    def follow(self, rows: Tensor, codes: Tensor) -> None:
        """Move the centroids to the means of the rows [B, H, N, D] that lie nearest to each, [B, H, N]."""
        chosen = F.one_hot(codes, self.centroids.shape[1]).to(rows.dtype)
        means = F.normalize(torch.einsum("bhnk,bhnd->hkd", chosen, rows), dim=-1)
        moved = F.normalize(torch.lerp(means, self.centroids, self.decay), dim=-1)
        self.centroids.copy_(torch.where(chosen.sum((0, 2))[..., None] > 0, moved, self.centroids))

    def extra_repr(self) -> str:
        return f"{self.centroids.shape[1]}, decay={self.decay}"
