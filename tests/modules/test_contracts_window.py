"""Attention's core and what windows add to its scores keep the contract."""

from __future__ import annotations

from typing import ClassVar

import torch

from assembler.testing import OpContract

HEADS = ((3, 2, 6, 8), (3, 2, 5, 8), (3, 2, 5, 4))


class TestDotProductAttention(OpContract):
    name = "dot_product_attention"
    args: ClassVar = {"dropout": 0.1}
    shapes = HEADS


class TestCausalGroupedAttention(OpContract):
    name = "dot_product_attention"
    args: ClassVar = {"causal": True, "scale": 0.5}
    shapes = ((3, 4, 5, 8), (3, 2, 5, 8), (3, 2, 5, 4))


class TestCausalAttentionAfterAPast(OpContract):
    name = "dot_product_attention"
    args: ClassVar = {"causal": True}
    shapes = ((3, 2, 2, 8), (3, 2, 5, 8), (3, 2, 5, 4))


class TestAttentionOfWindows(OpContract):
    name = "dot_product_attention"
    args: ClassVar = {"num_heads": 2}
    shapes = ((3, 2, 6, 8),) * 3


class Unbatched:
    """The same for every batch: the result has no rows of samples."""

    def test_a_sample_does_not_depend_on_its_batch(self) -> None:
        together, alone = (self.build()(*self.inputs(n)) for n in (3, 1))  # type: ignore[attr-defined]
        assert torch.equal(together, alone)


class TestRelativePositionBias(Unbatched, OpContract):
    name = "relative_position_bias"
    args: ClassVar = {"num_heads": 2, "grid": (2, 3)}
    shapes = ((3, 6, 8),)
    passes_gradient = False


class TestShiftedWindowMask(OpContract):
    name = "shifted_window_mask"
    args: ClassVar = {"grid": (4, 6), "window": 2, "shift": 1}
    shapes = ((3, 2, 4, 4),)
