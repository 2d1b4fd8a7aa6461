"""NASWOT: how differently samples switch the activations (Mellor et al., ICML 2021, arXiv 2006.04647)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from assembler.assemble.proxies.untrained import Untrained
from assembler.errors import RecipeError
from assembler.registry import proxy

_SWITCHES = (
    *("relu", "relu_", "gelu", "silu", "silu_", "leaky_relu", "elu", "hardtanh", "hardswish", "hardswish_", "mish"),
    *("hardsigmoid", "softplus", "_prelu_kernel", "sigmoid", "tanh", "threshold", "celu", "rrelu_with_noise"),
)
"""torch's activations, which are on where their input is above 0."""


@proxy
def naswot(model: Untrained) -> float:
    """log |K| of the batch, where K_ij = N - d(c_i, c_j): N activations in all, c_i the bits that say which of them
    sample i switches on, d the Hamming distance (Mellor et al., 2021, eq. 2).

    Minus infinity where two samples switch alike. Raises RecipeError for a model without activations.
    """
    size = len(next(iter(model.batch.values())))
    with torch.no_grad(), _Codes(size) as seen:
        model.values(model.module())
    if not seen.codes:
        raise RecipeError(f"naswot looks at activations, and {model.graph.name} has none", hint="screen by: synflow")
    codes = torch.cat(seen.codes, 1).double()  # [B, N]
    kernel = codes @ codes.T + (1 - codes) @ (1 - codes).T
    return float(torch.linalg.slogdet(kernel)[1])


class _Codes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes of every activation, sample by sample, where its input is above 0."""

    def __init__(self, size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.size = size
        self.codes: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func.overloadpacket).rpartition(".")[2] in _SWITCHES and len(args[0]) == self.size:
            self.codes.append((args[0] > 0).reshape(self.size, -1))
        return func(*args, **(kwargs or {}))
