"""Sums of task vectors (Ilharco et al., ICLR 2023, arXiv 2212.04089)."""

from __future__ import annotations

from torch import Tensor

from assembler.assemble.merging.tensors import Tensors
from assembler.registry import merge


@merge(base=True)
def task_arithmetic(at: Tensors, *, scale: float = 1.0) -> Tensor:
    """W_base + `scale` sum_i w_i (W_i - W_base); a negative weight takes away what a model has learnt."""
    return at.moved(at.deltas, scale)
