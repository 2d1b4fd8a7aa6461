"""Tensors of a step in another size: more channels that are copies (Net2Net), fewer that are the first ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PARTS = {"qkv": 3, "in_proj_weight": 3, "in_proj_bias": 3, "kv": 2}
"""Layers whose outputs are several equal parts side by side, by the name of the layer or parameter."""

Index = Sequence[int]
Flow = tuple[Index | None, Index | None]
"""For each channel that a step reads, and each that it makes, which of the parent's it is; None where unknown."""


def resized(
    tensor: Tensor, shape: Sequence[int], module: nn.Module, name: str, flow: Flow, seed: int
) -> tuple[Tensor, Literal["grown", "sliced"]]:
    """A parameter or buffer in another shape, of as many axes, and what that was.

    A channel beyond those that there are is a copy of channel c mod n; where a layer reads channels, the copies of one
    share its weight out, at random so that training tells them apart (Chen et al., 2016, arXiv:1511.05641). A smaller
    axis keeps what comes first, an axis of a kernel its middle; a larger kernel is zero around the old one. `module`
    is the layer that owns the tensor, `name` the tensor's key in the whole model, `flow` that of its step.
    """
    reads, kernel = layout(module, tensor)
    made, sliced = tensor, False
    for axis, (old, new) in enumerate(zip(tensor.shape, shape, strict=True)):
        if old == new:
            continue
        sliced = sliced or new < old
        if axis in kernel:
            made = _centred(made, axis, new)
        elif axis == reads:
            found = _known(flow[0], old, new) or _origins(old, new, 1)
            made = _read(made, axis, found, f"{seed}:{name}")
        else:
            found = _known(flow[1], old, new) or _origins(old, new, parts(name))
            made = made.index_select(axis, torch.tensor(found))
    return made.contiguous(), "sliced" if sliced else "grown"


def modulo(old: int, new: int) -> list[int]:
    """Which of `old` channels each of `new` is a copy of."""
    return _origins(old, new, 1)


def _known(origin: Index | None, old: int, new: int) -> list[int] | None:
    fits = origin is not None and len(origin) == new and max(origin, default=0) < old
    return list(origin) if fits and origin is not None else None


def layout(module: nn.Module, tensor: Tensor) -> tuple[int | None, tuple[int, ...]]:
    """The axis along which a layer's weight meets the channels that it reads, and the axes of its kernel."""
    if isinstance(module, _CONVS + _TRANSPOSED) and tensor.ndim > 2:
        kernel = tuple(range(2, tensor.ndim))
        return (None if module.groups > 1 else 0 if isinstance(module, _TRANSPOSED) else 1), kernel
    linear = isinstance(module, nn.Linear | nn.MultiheadAttention)
    return (1 if linear and tensor.ndim == 2 else None), ()


def parts(name: str) -> int:
    """How many equal parts, side by side, the outputs of a layer are, told by the key of its tensor."""
    return next((PARTS[part] for part in reversed(name.split(".")) if part in PARTS), 1)


def _origins(old: int, new: int, count: int) -> list[int]:
    count = count if old % count == 0 and new % count == 0 else 1
    one, other = old // count, new // count
    return [p * one + c % one for p in range(count) for c in range(other)]


def _read(weight: Tensor, axis: int, origin: Sequence[int], key: str) -> Tensor:
    """A weight for channels that are copies: what a channel counted, its copies count together."""
    seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest(), "big")
    drawn = torch.rand(len(origin), generator=torch.Generator().manual_seed(seed)) + 0.5
    index = torch.tensor(origin)
    sums = torch.zeros(weight.shape[axis]).index_add_(0, index, drawn)
    share = (drawn / sums[index]).to(weight.dtype)
    return weight.index_select(axis, index) * share.reshape([-1 if a == axis else 1 for a in range(weight.ndim)])


def _centred(weight: Tensor, axis: int, size: int) -> Tensor:
    old = weight.shape[axis]
    if size < old:
        return weight.narrow(axis, (old - size) // 2, size)
    made = weight.new_zeros([size if a == axis else n for a, n in enumerate(weight.shape)])
    made.narrow(axis, (size - old) // 2, old).copy_(weight)
    return made
