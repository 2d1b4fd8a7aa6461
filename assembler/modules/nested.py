"""The base of ops that call a sub-graph, whose steps become their own sub-modules (`refine.cell.weight`)."""

from __future__ import annotations

from typing import Self

from torch import nn


class Nested(nn.Module):
    """A module around one body: it calls `self.body`, whose steps are sub-modules of the module itself."""

    body: nn.Module

    def hold(self, body: nn.Module) -> None:
        """Make the steps of `body` sub-modules of this one, and `self.body` what computes them."""
        for name, step in body.named_children():
            self.add_module(name, step)
        self.__dict__["body"] = body  # beside the registered sub-modules: its steps have their names already

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the steps, and of the body, which may have other steps in training."""
        super().train(mode)
        self.body.train(mode)
        return self
