"""What processes that each run a slice of a batch have to bring together: values, and the statistics of batch norms."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


def brought_together(values: Sequence[Tensor], bounds: Sequence[int], rank: int) -> tuple[Tensor, ...]:
    """The values of a whole batch from those of the slices, by all processes at once.

    Axis 0 of a value is the batch, or a multiple of it; one that does not grow with the slice (a mean over it) becomes
    the mean of all, by their samples. A gradient reaches the slice that this process ran, times the number of
    processes: torch averages over them, and the loss of a batch is the sum of what its samples add to it.
    """
    if not values:
        return ()
    mine = torch.tensor([len(v) if v.ndim else -1 for v in values])
    heads = [torch.empty_like(mine) for _ in bounds[1:]]
    dist.all_gather(heads, mine)
    sizes = [end - start for start, end in itertools.pairwise(bounds)]
    times = [_times([int(head[i]) for head in heads], sizes) for i in range(len(values))]
    found: tuple[Tensor, ...] = _Together.apply(times, sizes, rank, *values)  # type: ignore[no-untyped-call]
    return found


def _times(heads: Sequence[int], sizes: Sequence[int]) -> int:
    """How many rows of axis 0 a sample has; 0 where that is not what axis 0 is."""
    times = heads[0] // sizes[0]
    return times if times > 0 and all(h == times * n for h, n in zip(heads, sizes, strict=True)) else 0


class _Together(torch.autograd.Function):
    """All values in one step, so that a backward pass that begins at one of them goes through all."""

    @staticmethod
    def forward(ctx: Any, times: list[int], sizes: list[int], rank: int, *values: Tensor) -> tuple[Tensor, ...]:
        """Rows of all processes, or means over them."""
        ctx.times, ctx.sizes, ctx.rank = times, sizes, rank
        share = sizes[rank] / sum(sizes)
        return tuple(_rows(v, n, sizes) if n else _mean(v, share) for v, n in zip(values, times, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of this process's rows."""
        sizes, rank, scale = ctx.sizes, ctx.rank, len(ctx.sizes)
        start, share = sum(sizes[:rank]), sizes[rank] / sum(sizes)
        found = [
            None if not needed else (grad[start * n : (start + sizes[rank]) * n] if n else grad * share) * scale
            for grad, n, needed in zip(grads, ctx.times, ctx.needs_input_grad[3:], strict=True)
        ]
        return (None, None, None, *found)


def _rows(value: Tensor, times: int, sizes: Sequence[int]) -> Tensor:
    """The rows of all slices, in the order of the batch; slices may differ in size, what is sent does not."""
    most = max(sizes) * times
    sent = value.detach().to(torch.uint8) if value.dtype == torch.bool else value.detach()
    sent = torch.cat([sent, sent.new_zeros(most - len(sent), *sent.shape[1:])]).contiguous()
    heard = [torch.empty_like(sent) for _ in sizes]
    dist.all_gather(heard, sent)
    return torch.cat([rows[: n * times] for rows, n in zip(heard, sizes, strict=True)]).to(value.dtype)


def _mean(value: Tensor, share: float) -> Tensor:
    if not value.is_floating_point():
        return value.clone()
    found = value.detach() * share
    dist.all_reduce(found)
    return found


def of_whole_batches() -> AbstractContextManager[Any]:
    """Batch norms in the block take mean and variance over the slices of all processes, as over one batch."""
    return _WholeBatches()


class _WholeBatches(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    axes = [axis for axis in range(input.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(input.ndim)]
    x = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
    count = x.new_tensor(x.numel() / x.shape[1])
    dist.all_reduce(count)
    mean = _summed(x.sum(axes)) / count
    centred = x - mean.view(shape)
    variance = _summed(centred.square().sum(axes)) / count
    _remember(running_mean, mean, momentum)
    _remember(running_var, variance * (count / (count - 1).clamp(min=1)), momentum)
    found = centred * torch.rsqrt(variance + eps).view(shape)
    found = found if weight is None else found * weight.view(shape)
    return (found if bias is None else found + bias.view(shape)).to(input.dtype)


class _Sum(torch.autograd.Function):
    """The sum over processes, of values and so of gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        """What all have."""
        found = value.detach().clone()
        dist.all_reduce(found)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """What all of them need of it."""
        found = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(found)
        return found


def _summed(value: Tensor) -> Tensor:
    found: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return found


@torch.no_grad()
def _remember(running: Tensor | None, now: Tensor, momentum: float) -> None:
    if running is not None:
        running.lerp_(now.to(running.dtype), momentum)
