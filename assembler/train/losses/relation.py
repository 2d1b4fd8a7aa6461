"""Losses on how the values of one sample lie to each other, which widths need not agree for."""

from __future__ import annotations

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


def _scores(x: Tensor, heads: int) -> Tensor:
    """The log of the relations [N, heads, tokens, tokens]."""
    if x.ndim != 3 or x.shape[2] % heads:
        raise ValueError(f"it takes [N, tokens, channels] with channels a multiple of its {heads} heads")
    parts = x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)
    return functional.log_softmax(parts @ parts.transpose(-1, -2) / parts.shape[-1] ** 0.5, dim=-1)
