"""Attention between tokens whose queries, keys and values other steps made: several heads, padding, biases."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Shapes, op


@op("masked_attention")
class MaskedAttention(nn.Module):
    """Multi-head attention without its projections (Vaswani et al., 2017, eq. 1): q [B, N, H * d], k and v [B, M, ..].

    It gives [B, N, H * d_v]; `dot_product_attention` is the same of heads that are apart. `mask` [B, M] or [B, N, M] is
    true or not zero where a query may look; `bias` [1 or B, H, N, M] is added to the scores, which are divided by the
    root of d unless `scale` says what to multiply them with. `causal` lets a query see keys up to its own place, the
    last query all of them. With fewer `kv_heads` than `num_heads` several queries share a key (Ainslie et al., 2023).
    A query that may look at nothing gives zeros.

    Raises ValueError where the widths do not split into heads or do not fit each other.
    """

    def __init__(
        self,
        shapes: Shapes,
        num_heads: int = 4,
        kv_heads: int | None = None,
        causal: bool = False,
        scale: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads, self.kv_heads = num_heads, num_heads if kv_heads is None else kv_heads
        self.causal, self.scale, self.dropout = causal, scale, dropout
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}, but it needs to be at least 0 and less than 1")
        if min(self.num_heads, self.kv_heads) < 1 or self.num_heads % self.kv_heads:
            raise ValueError(f"{self.num_heads} heads cannot share {self.kv_heads} heads of keys evenly")
        q, k, v = (list(shape) for shape in shapes[:3])
        if {len(q), len(k), len(v)} != {3}:
            raise ValueError(f"q, k and v are tokens [B, N, D], got {q}, {k} and {v}")
        if q[2] % self.num_heads or k[2] % self.kv_heads or v[2] % self.kv_heads:
            raise ValueError(f"{q[2]}, {k[2]} and {v[2]} features do not split into the heads of q, k and v")
        if q[2] // self.num_heads != k[2] // self.kv_heads or k[1] != v[1]:
            raise ValueError(f"queries of {q}, keys of {k} and values of {v} do not fit each other")

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        q, k, v = self.heads(q, self.num_heads), self.heads(k, self.kv_heads), self.heads(v, self.kv_heads)
        plain = self.causal and mask is None and bias is None and q.shape[2] == k.shape[2]
        p = self.dropout if self.training else 0.0
        where = None if plain else self.where(q, k, mask, bias)
        shared = self.num_heads != self.kv_heads
        mixed = F.scaled_dot_product_attention(
            q, k, v, where, dropout_p=p, is_causal=plain, scale=self.scale, enable_gqa=shared
        )
        return mixed.transpose(1, 2).flatten(2)

    def heads(self, x: Tensor, count: int) -> Tensor:
        """Tokens [B, N, H * d] as [B, H, N, d]."""
        return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2)

    def where(self, q: Tensor, k: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor | None:
        """Where queries may look, true or false, or what is added to the scores, broadcast to [B, H, N, M]."""
        allowed = None
        if mask is not None:
            allowed = mask.bool()[:, None, None] if mask.ndim == 2 else mask.bool()[:, None]
        if self.causal:
            n, m = q.shape[2], k.shape[2]
            past = torch.ones(n, m, dtype=torch.bool, device=q.device).tril(m - n)
            allowed = past if allowed is None else allowed & past
        if bias is None:
            return allowed
        bias = bias.to(q.dtype)
        return bias if allowed is None else bias.masked_fill(~allowed, float("-inf"))

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, kv_heads={self.kv_heads}, causal={self.causal}, scale={self.scale}"
