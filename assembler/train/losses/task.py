"""Losses against the labels or targets of a data set."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from assembler.registry import loss


@loss
def cross_entropy(value: Tensor, target: Tensor, label_smoothing: float = 0.0, axis: int = 1) -> Tensor:
    """Cross entropy of logits [N, classes, ...] and integer labels [N, ...], in nats, mean over labels.

    `axis` is where the classes of the logits lie, -1 for the [N, tokens, classes] of a language model. Labels of -100
    do not count.
    """
    return functional.cross_entropy(value.movedim(axis, 1), target, label_smoothing=label_smoothing)


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
