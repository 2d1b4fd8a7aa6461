"""Losses against the labels or targets of a data set."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from assembler.registry import loss

_UNLABELLED = -100


@loss
def cross_entropy(value: Tensor, target: Tensor, label_smoothing: float = 0.0, axis: int = 1) -> Tensor:
    """Cross entropy of logits [N, classes, ...] and integer labels [N, ...], in nats, mean over labels.

    `axis` is where the classes of the logits lie, -1 for the [N, tokens, classes] of a language model. Labels of -100
    do not count; where there are no others, as in a batch of unlabelled samples, it is 0.
    """
    logits = value.movedim(axis, 1)
    if target.is_floating_point():  # shares of the classes, as torch takes them as well
        return functional.cross_entropy(logits, target, label_smoothing=label_smoothing)
    total = functional.cross_entropy(logits, target, label_smoothing=label_smoothing, reduction="sum")
    return total / (target != _UNLABELLED).sum().clamp(min=1)


@loss
def binary_cross_entropy(value: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of independent yes-or-no logits and targets from 0 to 1, both of one shape, in nats."""
    return functional.binary_cross_entropy_with_logits(value, target.to(value.dtype))


@loss
def mse(value: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of two tensors of one shape."""
    return functional.mse_loss(value, target)


@loss
def l1(value: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of two tensors of one shape."""
    return functional.l1_loss(value, target)


@loss
def ctc_loss(
    value: Tensor,
    target: Tensor,
    lengths: Tensor | None = None,
    target_lengths: Tensor | None = None,
    blank: int = 0,
    zero_infinity: bool = False,
) -> Tensor:
    """Connectionist temporal classification of logits [N, time, classes] and integer labels [N, labels], in nats.

    The loss of each sample over its number of labels, mean over samples (Graves et al. 2006, equation 8). `lengths`
    and `target_lengths`, integers [N], say how much of each row counts; without them all of it does. `blank` is the
    class of no label, which the labels do not have. Labels that do not fit into their time have an infinite loss, or
    none with `zero_infinity`. Raises ValueError for other shapes.
    """
    if value.ndim != 3 or target.ndim != 2 or len(value) != len(target):
        raise ValueError("it takes logits [N, time, classes] and labels [N, labels]")
    lengths, target_lengths = (
        torch.full(x.shape[:1], x.shape[1], device=x.device) if n is None else n
        for n, x in ((lengths, value), (target_lengths, target))
    )
    precise = value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    scores = precise.log_softmax(2).transpose(0, 1)
    if scores.is_meta:  # torch looks at the lengths; the value is one number whatever they are
        return scores.mean().to(value.dtype)
    found = functional.ctc_loss(scores, target, lengths, target_lengths, blank, zero_infinity=zero_infinity)
    return found.to(value.dtype)
