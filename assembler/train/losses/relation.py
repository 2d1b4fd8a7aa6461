"""Losses on how the values of one sample, or of a batch, lie to each other, which widths need not agree for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from assembler.registry import loss


@loss
def relation(value: Tensor, target: Tensor, heads: int = 1) -> Tensor:
    """KL divergence from the teacher's self-relations to the student's: queries, keys or values of an attention.

    Value [N, tokens, D] and target [N, tokens, E] are split into `heads` each, and a relation is the softmax over the
    tokens of X X^T / sqrt(width of a head) (MiniLM, Wang et al. 2020, arXiv 2002.10957, eq. 6; with other heads than
    the models' own MiniLMv2, arXiv 2012.15828). Mean over heads and tokens, in nats. Where a rotation of a head's
    channels is all that differs, it is 0. Raises ValueError where the heads do not divide a width.
    """
    student, teacher = _scores(value, heads), _scores(target.detach(), heads)
    found = functional.kl_div(student, teacher, reduction="none", log_target=True)
    return found.sum(-1).mean()


@loss
def cka(value: Tensor, target: Tensor) -> Tensor:
    """One less the linear CKA (centred kernel alignment) of a value [N, ...] and a target [N, ...] of N samples.

    ||Y^T X||^2 / (||X^T X|| ||Y^T Y||) in Frobenius norms, of the values flattened to rows, less their mean over the
    batch (Kornblith et al. 2019, arXiv 1905.00414, section 3). Where a rotation, a scale and a shift are all that
    differs it is 0; 1 for values that have nothing in common, and for one that is the same for all samples. Few
    samples of wide values look alike: take many.
    """
    return 1 - alignment(likeness(value), likeness(target.detach()))


def likeness(value: Tensor) -> Tensor:
    """How like the samples of a value [N, ...] are: the products [N, N] of their rows, less the mean, at norm 1.

    Those of a value that is the same for all samples are 0.
    """
    rows = value.flatten(1)
    rows = rows - rows.mean(0)
    products = rows @ rows.T
    length: Tensor = torch.linalg.matrix_norm(products)
    return products / length.clamp_min(torch.finfo(products.dtype).tiny)


def alignment(one: Tensor, other: Tensor) -> Tensor:
    """The linear CKA, from 0 to 1, of two values by the `likeness` of each."""
    return (one * other).sum()


def _scores(x: Tensor, heads: int) -> Tensor:
    """The log of the relations [N, heads, tokens, tokens]."""
    if x.ndim != 3 or x.shape[2] % heads:
        raise ValueError(f"it takes [N, tokens, channels] with channels a multiple of its {heads} heads")
    parts = x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)
    return functional.log_softmax(parts @ parts.transpose(-1, -2) / parts.shape[-1] ** 0.5, dim=-1)
