"""The reference models as one would write them by hand in plain torch; a ViT begins as the released code has it.

Of equal shapes, weights stand in the order in which they are used, so that `copy_weights` can pair them with those of a
model that was built of a recipe.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Give `target` the weights and buffers of `source`: the k-th of each shape the k-th of that shape."""
    left: dict[torch.Size, list[Tensor]] = {}
    for tensor in reversed(source.state_dict().values()):
        left.setdefault(tensor.shape, []).append(tensor)
    target.load_state_dict({name: left[tensor.shape].pop() for name, tensor in target.state_dict().items()})
    assert not any(left.values())


class DropPath(nn.Module):
    """Stochastic depth, as timm has it."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if self.p == 0 or not self.training:
            return x
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * mask.div_(1 - self.p)


class BasicBlock(nn.Module):
    """ResNet's block of two 3x3 convolutions, as torchvision has it."""

    def __init__(self, inner: int, out: int, stride: int) -> None:
        super().__init__()
        self.downsample = None
        if stride != 1 or inner != out:
            self.downsample = nn.Sequential(nn.Conv2d(inner, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.conv1 = nn.Conv2d(inner, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(shortcut + self.bn2(self.conv2(y)))


class ResNet18(nn.Module):
    """He et al., 2016."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        blocks, inner = [], 64
        for i, width in enumerate((64, 128, 256, 512)):
            blocks += [BasicBlock(inner, width, 2 if i else 1), BasicBlock(width, width, 1)]
            inner = width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(F.relu(self.bn(self.conv(x))))
        out: Tensor = self.fc(self.blocks(y).mean((2, 3)))
        return out


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Attention(nn.Module):
    """Self-attention on torch's scaled dot product, as timm and nanoGPT have it."""

    def __init__(self, dim: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        out: Tensor = self.proj(y.transpose(1, 2).reshape(b, n, d))
        return out


class ViTBlock(nn.Module):
    """Attention and MLP, each after a layer norm."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, 1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, 1e-6)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViTTiny(nn.Module):
    """ViT-Ti/16 (Dosovitskiy et al., 2021; Touvron et al., 2021)."""

    def __init__(self, dim: int = 192, depth: int = 12, heads: int = 3, size: int = 224, classes: int = 1000) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, dim, 16, 16)
        self.cls = nn.Parameter(torch.empty(1, 1, dim))
        self.position = nn.Parameter(torch.empty(1, (size // 16) ** 2 + 1, dim))
        self.blocks = nn.Sequential(*[ViTBlock(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, 1e-6)
        self.head = nn.Linear(dim, classes)
        nn.init.trunc_normal_(self.cls, std=0.02)
        nn.init.trunc_normal_(self.position, std=0.02)
        self.apply(self._begin)

    @staticmethod
    def _begin(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.position
        out: Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return out


class LayerScale(nn.Module):
    """A learned scalar for every channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma[:, None, None]


class PoolFormerBlock(nn.Module):
    """Pooling and a 1x1-convolution MLP, each with a layer scale and stochastic depth."""

    def __init__(self, dim: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(1, dim)
        self.scale1 = LayerScale(dim)
        self.norm2 = nn.GroupNorm(1, dim)
        self.fc1 = nn.Conv2d(dim, 4 * dim, 1)
        self.fc2 = nn.Conv2d(4 * dim, dim, 1)
        self.scale2 = LayerScale(dim)
        self.drop = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        y = F.avg_pool2d(y, 3, 1, 1, count_include_pad=False) - y
        x = x + self.drop(self.scale1(y))
        y = self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x + self.drop(self.scale2(y))


class PoolFormerS12(nn.Module):
    """Yu et al., 2022."""

    def __init__(self, drop_path: float = 0.1, classes: int = 1000) -> None:
        super().__init__()
        widths, depths = (64, 128, 320, 512), (2, 2, 6, 2)
        inner, done, stages = 3, 0, []
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            stages.append(nn.Conv2d(inner, width, 3 if i else 7, 2 if i else 4, 1 if i else 2))
            drops = [drop_path * (done + k) / (sum(depths) - 1) for k in range(depth)]
            stages += [PoolFormerBlock(width, p) for p in drops]
            inner, done = width, done + depth
        self.stages = nn.Sequential(*stages)
        self.norm = nn.GroupNorm(1, inner)
        self.head = nn.Linear(inner, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(self.stages(x)).mean((2, 3)))
        return out


class MixerBlock(nn.Module):
    """An MLP across tokens and one across features."""

    def __init__(self, dim: int, tokens: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, 1e-6)
        self.token = Mlp(tokens, hidden)
        self.norm2 = nn.LayerNorm(dim, 1e-6)
        self.channel = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.token(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channel(self.norm2(x))


class MlpMixerS16(nn.Module):
    """Mixer-S/16 (Tolstikhin et al., 2021)."""

    def __init__(self, dim: int = 512, depth: int = 8, size: int = 224, classes: int = 1000) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, dim, 16, 16)
        self.blocks = nn.Sequential(*[MixerBlock(dim, (size // 16) ** 2, dim // 2) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, 1e-6)
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        out: Tensor = self.head(self.norm(self.blocks(x)).mean(1))
        return out


class GPTBlock(nn.Module):
    """GPT-2's block, as nanoGPT has it."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, causal=True)
        self.norm2 = nn.LayerNorm(dim)
        self.fc = nn.Linear(dim, 4 * dim)
        self.proj = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.proj(F.gelu(self.fc(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    """GPT-2 (Radford et al., 2019) without dropout; the head's weights are those of the embedding."""

    def __init__(self, dim: int, depth: int, heads: int, vocab: int, context: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.position = nn.Embedding(context, dim)
        self.blocks = nn.Sequential(*[GPTBlock(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) + self.position(torch.arange(ids.shape[1], device=ids.device))
        out: Tensor = self.head(self.norm(self.blocks(x)))
        return out
