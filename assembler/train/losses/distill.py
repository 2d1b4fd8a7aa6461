"""Losses against what another network computes: its logits or its features. The target gets no gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from assembler.registry import loss
from assembler.train.losses.ranges import positive


@loss
def kl(value: Tensor, target: Tensor, temperature: float = 4.0, axis: int = 1) -> Tensor:
    """KL divergence from the teacher's softened distribution to the student's, logits with the classes along `axis`.

    Mean over distributions, not over classes, times temperature squared, so that its gradient keeps its size when
    the temperature changes (Hinton, Vinyals, Dean 2015, section 2).
    """
    positive("temperature", temperature)
    student = functional.log_softmax(value / temperature, dim=axis)
    teacher = functional.log_softmax(target.detach() / temperature, dim=axis)
    pointwise = functional.kl_div(student, teacher, reduction="none", log_target=True)
    return pointwise.sum(dim=axis).mean() * temperature**2


@loss
def soft_cross_entropy(value: Tensor, target: Tensor, axis: int = 1) -> Tensor:
    """Cross entropy of logits, the classes along `axis`, and the teacher's logits of the same shape, in nats."""
    return functional.cross_entropy(value.movedim(axis, 1), target.detach().softmax(dim=axis).movedim(axis, 1))


@loss
def normalized_mse(value: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the mean square of the target: 1 for a value of all zeros, 0 for a perfect one.

    The block-wise loss of Puzzle (Bercovich et al. 2024), which puts blocks of any scale on one footing.
    """
    target = target.detach()
    scale = target.square().mean().clamp_min(torch.finfo(target.dtype).tiny)
    return functional.mse_loss(value, target) / scale


@loss
def cosine(value: Tensor, target: Tensor) -> Tensor:
    """One less the cosine of the angle between value and target, both [N, ...], flattened and averaged over N."""
    return (1 - functional.cosine_similarity(value.flatten(1), target.detach().flatten(1))).mean()
