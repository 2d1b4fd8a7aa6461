"""Multi-head attention over tokens or the positions of a map, on torch's scaled dot product."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Shapes, op


@op("attention")
class Attention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017) of `x` to itself, or to `kv` where that input is wired.

    Tokens [B, N, D] give [B, N, out]; maps [B, C, H, W] are read as H*W tokens and give [B, out, H, W]. `kv` may be
    of either layout and of another width. `head_dim` is by default D / num_heads, `out` is D. `causal` lets a token
    see itself and those before it; `dropout` drops attention weights.

    Raises ValueError where D does not split into `num_heads` and no `head_dim` says otherwise.
    """

    def __init__(
        self,
        shapes: Shapes,
        num_heads: int = 4,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        causal: bool = False,
        dropout: float = 0.0,
        out: int | None = None,
    ) -> None:
        super().__init__()
        for shape in shapes:
            if len(shape) not in (3, 4):
                raise ValueError(f"attention needs tokens [B, N, D] or maps [B, C, H, W], got {list(shape)}")
        features, context = (s[1] if len(s) == 4 else s[2] for s in (shapes[0], shapes[-1]))
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}, but it needs to be at least 0 and less than 1")
        if num_heads < 1 or (head_dim is None and features % num_heads):
            fit = [n for n in range(1, min(features, 32) + 1) if features % n == 0]
            raise ValueError(
                f"{features} features do not split into {num_heads} heads; "
                f"num_heads may be {', '.join(map(str, fit))}, or give head_dim"
            )
        inner = num_heads * (features // num_heads if head_dim is None else head_dim)
        self.num_heads, self.causal, self.dropout = num_heads, causal, dropout
        self.cross = len(shapes) > 1
        if self.cross:
            self.q = nn.Linear(features, inner, bias=qkv_bias)
            self.kv = nn.Linear(context, 2 * inner, bias=qkv_bias)
        else:
            self.qkv = nn.Linear(features, 3 * inner, bias=qkv_bias)
        self.proj = nn.Linear(inner, features if out is None else out)

    def forward(self, x: Tensor, kv: Tensor | None = None) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2) if x.ndim == 4 else x
        q, k, v = self.project(tokens, kv)
        p = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=self.causal)
        y: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))  # [B, N, out]
        return y.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:]) if x.ndim == 4 else y

    def project(self, x: Tensor, kv: Tensor | None) -> tuple[Tensor, ...]:
        """Queries, keys and values, each [B, heads, N, head_dim]."""
        if not self.cross:
            qkv = self.qkv(x).unflatten(2, (3, self.num_heads, -1))
            return tuple(qkv.permute(2, 0, 3, 1, 4).unbind(0))
        context = x if kv is None else kv.flatten(2).transpose(1, 2) if kv.ndim == 4 else kv
        q = self.q(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        k, v = self.kv(context).unflatten(2, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, causal={self.causal}, dropout={self.dropout}"
