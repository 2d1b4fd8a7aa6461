"""Changes of layout and global pooling. Wrong patterns and sizes fail when the model is built.

Of sizes, only those that the recipe itself says are fixed: a built model takes any others.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assembler.registry import Shape, op


@op("rearrange")
def rearrange(x: Tensor, pattern: str, shape: Shape, sizes: dict[str, int] | None = None) -> Tensor:
    """Axes split, moved and merged as an einops pattern says: `b (h p) (w q) c -> b (h w) (p q c)`.

    `sizes` gives those names that a group leaves open; `1` is an axis of size 1. The first axis of the input is, or
    begins with, the batch: of the names there exactly one stays without a size.

    Raises ValueError, with the pattern, for a wrong pattern or one that the shape does not fit.
    """
    import re

    known, sides = dict(sizes or ()), pattern.split("->")
    if len(sides) != 2 or any(re.sub(r"\([\w\s]*\)|\w+|\s+", "", side) for side in sides):
        raise ValueError(f"cannot read the pattern '{pattern}': it is `names -> names`, groups in parentheses")
    pairs = [re.findall(r"\(([\w\s]*)\)|(\w+)", side) for side in sides]
    left, right = ([[n for n in (g or n).split() if n != "1"] for g, n in side] for side in pairs)
    names, order = [n for g in left for n in g], [n for g in right for n in g]
    if sorted(names) != sorted(order) or len(set(names)) < len(names):
        raise ValueError(f"every name of '{pattern}' needs to stand exactly once on each side")
    if not set(known) <= set(names):
        raise ValueError(f"sizes gives {', '.join(sorted(set(known) - set(names)))}, which '{pattern}' does not have")
    if len(left) != len(shape):
        raise ValueError(f"'{pattern}' takes {len(left)} axes, the input has {len(shape)}: {list(shape)}")
    batch = [n for n in left[0] if n not in known]
    if len(batch) != 1:
        raise ValueError(f"the first axis of '{pattern}' is the batch: exactly one name there needs to have no size")
    for axis, group in enumerate(left):
        free = [n for n in group if n not in known]
        rest = math.prod(known[n] for n in group if n in known)
        if len(free) > 1:
            raise ValueError(f"sizes needs all but one of {', '.join(free)} in '{pattern}'")
        if rest < 1 or shape[axis] % rest or (not free and shape[axis] != rest):
            need = f"a multiple of {rest}" if free else rest
            raise ValueError(f"axis {axis} of '{pattern}' has {shape[axis]} elements, but needs {need}")
    return rearranged(x, left, right, known)


def rearranged(x: Tensor, left: list[list[str]], right: list[list[str]], known: dict[str, int]) -> Tensor:
    """Axes split into the names on the left, put in order and joined as on the right.

    What `known` gives no size has that which the input tells, whatever its length.
    """
    for axis in reversed(range(len(left))):
        group = left[axis]
        if not group:
            x = x.squeeze(axis)
        elif len(group) > 1 or group[0] in known:
            x = torch.unflatten(x, axis, [known.get(n, -1) for n in group])
    names, order = ([n for group in side for n in group] for side in (left, right))
    x = x.permute([names.index(n) for n in order]) if names != order else x
    for n in reversed(range(len(right))):
        group, start = right[n], sum(map(len, right[:n]))
        if not group:
            x = x.unsqueeze(start)
        elif len(group) > 1:
            x = x.flatten(start, start + len(group) - 1)
    return x


@op("reshape")
def reshape(x: Tensor, shape: tuple[int, ...], given: Shape) -> Tensor:
    """The elements of each sample in another `shape`, which leaves the batch out and may hold one -1.

    That axis takes what there is, also in a model that is called with more or less than it was built for. Raises
    ValueError where the numbers of elements differ.
    """
    size, open_axes = math.prod(given[1:]), shape.count(-1)
    rest = math.prod(s for s in shape if s != -1)
    fits = rest > 0 and (size % rest == 0 if open_axes == 1 else size == rest)
    if open_axes > 1 or not fits or min(shape, default=0) < -1:
        raise ValueError(f"samples of shape {list(given[1:])}, {size} elements, cannot take the shape {list(shape)}")
    return x.reshape(x.shape[0], *shape)


@op("transpose")
def transpose(x: Tensor, shape: Shape, dim0: int = 1, dim1: int = 2) -> Tensor:
    """The input with axes `dim0` and `dim1` swapped; axis 0 is the batch."""
    axes = len(shape)
    for dim in (dim0, dim1):
        if not -axes <= dim < axes:
            raise ValueError(f"there is no axis {dim} in {list(shape)}")
    return x.transpose(dim0, dim1)


@op("permute")
def permute(x: Tensor, dims: tuple[int, ...], shape: Shape) -> Tensor:
    """The input's axes in the order `dims`, batch included: [0, 2, 3, 1] puts the channels of maps last."""
    if sorted(dims) != list(range(len(shape))):
        raise ValueError(f"dims is {list(dims)}, but it needs each axis of {list(shape)} once: 0 to {len(shape) - 1}")
    return x.permute(dims)


@op("global_avg_pool")
def global_avg_pool(x: Tensor, shape: Shape, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """Mean over all positions: maps [B, C, H, W] -> [B, C], tokens [B, N, D] -> [B, D].

    `dim` names the axes of other layouts: 2 for [B, C, L].
    """
    if len(shape) < 3 and dim is None:
        raise ValueError(f"global_avg_pool needs tokens [B, N, D] or maps [B, C, H, W], got {list(shape)}")
    axes = tuple(range(2, len(shape))) if len(shape) > 3 else 1
    return x.mean(axes if dim is None else dim)


@op("global_max_pool")
def global_max_pool(x: Tensor, shape: Shape, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """Maximum over all positions: maps [B, C, H, W] -> [B, C], tokens [B, N, D] -> [B, D].

    `dim` names the axes of other layouts: 2 for [B, C, L].
    """
    if len(shape) < 3 and dim is None:
        raise ValueError(f"global_max_pool needs tokens [B, N, D] or maps [B, C, H, W], got {list(shape)}")
    axes = tuple(range(2, len(shape))) if len(shape) > 3 else 1
    return x.amax(axes if dim is None else dim)
