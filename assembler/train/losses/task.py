"""Losses against the labels or targets of a data set."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from assembler.registry import loss


@loss
def cross_entropy(value: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross entropy of logits [N, classes, ...] and integer labels [N, ...], in nats, mean over labels."""
    return functional.cross_entropy(value, target, label_smoothing=label_smoothing)


@loss
def mse(value: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of two tensors of one shape."""
    return functional.mse_loss(value, target)
