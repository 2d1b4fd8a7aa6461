"""The weighted mean of weights: a uniform model soup (Wortsman et al., ICML 2022, arXiv 2203.05482)."""

from __future__ import annotations

import torch
from torch import Tensor

from assembler.assemble.merging.tensors import Tensors
from assembler.errors import InputError
from assembler.registry import merge


@merge
def linear(at: Tensors, *, normalize: bool = True) -> Tensor:
    """sum_i w_i W_i, with `normalize` divided by sum_i w_i."""
    found = (at.scale * torch.stack(at.models)).sum(0)
    whole = sum(at.weights)
    if normalize and not whole:
        raise InputError("the weights of the models sum to 0", hint="normalize: false leaves the sum as it is")
    return found / whole if normalize else found
