"""Losses that tell the value that belongs to a sample from those of the other samples of the batch."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from assembler.registry import loss
from assembler.train.losses.ranges import positive


@loss
def info_nce(
    value: Tensor,
    target: Tensor,
    temperature: float = 0.1,
    symmetric: bool = True,
    negatives: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """InfoNCE of two views [N, ...] of N samples, flattened to unit vectors; the others of the batch are negatives.

    Cross entropy of picking a sample's own view by cosine over `temperature` (van den Oord et al. 2018, eq. 4), in
    nats: log N for values that tell nothing apart. With `symmetric` the mean of both directions (CLIP, Radford et al.
    2021, figure 3), else from value to target alone. `negatives: mean` takes the mean of the others in the place of
    their sum, so that the loss does not grow with the batch (cMIM, arXiv 2502.19642): log 2 for values that tell
    nothing apart, 0 where there are no others. A value as its own target is pushed away from the others alone.
    """
    positive("temperature", temperature)
    logits = _cosines(value, target) / temperature
    own = torch.arange(len(logits), device=logits.device)
    if negatives == "mean" and len(logits) > 2:
        logits = logits - math.log(len(logits) - 1) * (1 - torch.eye(len(logits)).to(logits))
    forth = functional.cross_entropy(logits, own)
    return (forth + functional.cross_entropy(logits.T, own)) / 2 if symmetric else forth


@loss
def similarity_kl(
    value: Tensor, target: Tensor, teacher_value: Tensor, teacher_target: Tensor, temperature: float = 1.0
) -> Tensor:
    """KL divergence from a teacher's in-batch similarities of two views to the student's; widths need not agree.

    A row is the softmax over the `target` [N, ...] of one `value` [N, ...] by cosine over `temperature`, and likewise
    for the teacher's, which get no gradient. Mean over rows, in nats: the loss that keeps a slice of an embedding, or
    an early layer's, ranking as the whole does (Zhuang et al. 2024, Starbucks, arXiv 2410.13230).
    """
    positive("temperature", temperature)
    student = (_cosines(value, target) / temperature).log_softmax(1)
    teacher = (_cosines(teacher_value.detach(), teacher_target.detach()) / temperature).log_softmax(1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


@loss(higher=True)
def mrr(value: Tensor, target: Tensor) -> Tensor:
    """Mean reciprocal rank of each sample's own `target` [N, ...] for its `value` [N, ...], by cosine; a metric.

    Those that are as similar count half. The others of the batch are what it is told from: of a split of up to 512
    samples all of them. It has no gradient.
    """
    scores = _cosines(value, target).detach()
    own = scores.diagonal()[:, None]
    rank = 0.5 + (scores > own).sum(1) + 0.5 * (scores == own).sum(1)
    return rank.reciprocal().mean()


def _cosines(value: Tensor, target: Tensor) -> Tensor:
    one, other = (functional.normalize(x.flatten(1), dim=1) for x in (value, target))
    return one @ other.T
