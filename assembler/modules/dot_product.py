"""The core of attention, without projections, for recipes that say those themselves."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Shapes, op


@op("dot_product_attention")
class DotProductAttention(nn.Module):
    """Scaled dot-product attention (Vaswani et al., 2017, eq. 1): softmax(q k^T * scale + bias) v.

    Queries [..., heads, N, d], keys [..., heads, M, d] and values [..., heads, M, e] give [..., heads, N, e]; the axes
    before the last two are any. With `num_heads` the heads lie in the features of tokens instead: [..., N, heads * d].
    Where there are fewer key than query heads, each serves as many (grouped queries; Ainslie et al., 2023).
    `bias`, broadcast to [..., heads, N, M], is added to the scores or, where it is bool, says which keys a query
    sees; `mask` [..., M] or [..., N, M] says it for all heads, by true or not zero (padding is zero). `causal` lets a
    query see the keys up to its own place, the last query all of them. `scale` is by default d ** -0.5; `dropout`
    drops attention weights in training. A query that sees nothing gives zeros.

    Raises ValueError where d differs or the heads do not divide.
    """

    def __init__(
        self,
        shapes: Shapes,
        num_heads: int | None = None,
        causal: bool = False,
        scale: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        q, k, v = shapes[:3]
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}, but it needs to be at least 0 and less than 1")
        if num_heads is not None and (num_heads < 1 or q[-1] % num_heads):
            raise ValueError(f"{q[-1]} features do not split into {num_heads} heads")
        width = q[-1] // num_heads if num_heads else k[-1]
        if k[-1] % width or (num_heads is None and q[-1] != k[-1]) or k[-2] != v[-2]:
            given = ", ".join(str(list(s)) for s in (q, k, v))
            raise ValueError(f"queries, keys and values are [.., N, d], [.., M, d] and [.., M, e], got {given}")
        heads = (num_heads, k[-1] // width) if num_heads else (q[-3], k[-3]) if len(q) > 3 else (1, 1)
        if heads[0] % heads[1] or (num_heads and v[-1] % heads[1]):
            raise ValueError(f"{heads[1]} heads of keys do not divide {heads[0]} heads of queries")
        self.num_heads, self.key_heads = num_heads, heads[1]
        self.grouped = heads[0] != heads[1]
        self.causal, self.scale, self.dropout = causal, scale, dropout

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        if self.num_heads:
            counts = (self.num_heads, self.key_heads, self.key_heads)
            q, k, v = (
                x.reshape(*x.shape[:-1], n, -1).transpose(-3, -2) for x, n in zip((q, k, v), counts, strict=True)
            )
        where = bias
        if mask is not None:
            where = self.within(self.spread(mask.bool(), q), where)
        plain = self.causal and where is None and q.shape[-2] == k.shape[-2]
        if self.causal and not plain:
            where = self.within(q.new_ones((q.shape[-2], k.shape[-2])).tril(k.shape[-2] - q.shape[-2]).bool(), where)
        p = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, where, p, plain, scale=self.scale, enable_gqa=self.grouped)
        return mixed.transpose(-3, -2).flatten(-2) if self.num_heads else mixed

    @staticmethod
    def within(seen: Tensor, bias: Tensor | None) -> Tensor:
        """A bias with the keys that are not `seen` left out; True where a query looks if there is none."""
        if bias is None:
            return seen
        return bias & seen if bias.dtype == seen.dtype else bias.masked_fill(~seen, float("-inf"))

    def spread(self, mask: Tensor, q: Tensor) -> Tensor:
        """A mask with an axis for the heads, and one for the queries where it has none."""
        batch = max(0, q.ndim - 3)  # axes before the heads
        mask = mask.unsqueeze(-2) if mask.ndim == batch + 1 else mask
        return mask.unsqueeze(-3) if q.ndim > 2 else mask

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, causal={self.causal}, scale={self.scale}, dropout={self.dropout}"
