"""An exponential moving average of a module's weights (Polyak averaging), kept in a copy of the module."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """A copy of `module` whose weights follow it: decay * average + (1 - decay) * weight after every `update`.

    It starts as the module is. Buffers, such as running statistics, are copied as they are.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.decay = decay
        self._source = module
        self._pairs = list(zip(self.module.parameters(), module.parameters(), strict=True))

    @torch.no_grad()
    def update(self) -> None:
        """Take in the module as it is now."""
        averages, weights = (list(tensors) for tensors in zip(*self._pairs, strict=True))
        torch._foreach_lerp_(averages, weights, 1 - self.decay)
        self._copy_buffers(self.module, self._source)

    @torch.no_grad()
    def keep(self) -> None:
        """Give the module the averaged weights."""
        for average, weight in self._pairs:
            weight.copy_(average)

    def _copy_buffers(self, to: nn.Module, source: nn.Module) -> None:
        for mine, theirs in zip(to.buffers(), source.buffers(), strict=True):
            mine.copy_(theirs)
