"""The general tensor ops keep the contract."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from assembler.testing import OpContract

MAPS = ((3, 8, 4, 6),)
TOKENS = ((3, 16, 8),)


class Positive:
    """Inputs above zero, for logarithms and roots."""

    def inputs(self, batch: int = 3) -> list[Tensor]:
        return [x.abs() + 0.5 for x in super().inputs(batch)]  # type: ignore[misc]


class Indexed:
    """The second input is an index, from 0 to 3."""

    def inputs(self, batch: int = 3) -> list[Tensor]:
        first, index, *rest = super().inputs(batch)  # type: ignore[misc]
        return [first, (index.abs() * 10).long() % 4, *rest]


class Masked:
    """The input at `mask` is true about every other time."""

    mask: ClassVar[int] = 1

    def inputs(self, batch: int = 3) -> list[Tensor]:
        return [x > 0 if i == self.mask else x for i, x in enumerate(super().inputs(batch))]  # type: ignore[misc]


class TestSlice(OpContract):
    name = "slice"
    args: ClassVar = {"start": 1, "stop": -2, "step": 3}
    shapes = TOKENS


class TestSelect(OpContract):
    name = "select"
    args: ClassVar = {"index": -1}
    shapes = TOKENS


class TestChunk(OpContract):
    name = "chunk"
    args: ClassVar = {"chunks": 4}
    shapes = TOKENS


class TestSplit(OpContract):
    name = "split"
    args: ClassVar = {"sizes": (1, 5, 2)}
    shapes = TOKENS


class TestStack(OpContract):
    name = "stack"
    shapes = TOKENS * 3


class TestUnsqueeze(OpContract):
    name = "unsqueeze"
    shapes = TOKENS


class TestSqueeze(OpContract):
    name = "squeeze"
    shapes = ((3, 5, 1),)


class TestExpand(OpContract):
    name = "expand"
    args: ClassVar = {"shape": (4, 5, -1)}
    shapes = ((3, 1, 8),)


class TestTile(OpContract):
    name = "tile"
    args: ClassVar = {"repeats": (2, 1)}
    shapes = TOKENS


class TestRepeatInterleave(OpContract):
    name = "repeat_interleave"
    args: ClassVar = {"repeats": 2}
    shapes = TOKENS


class TestRoll(OpContract):
    name = "roll"
    args: ClassVar = {"shifts": (1, -2), "dims": (2, 3)}
    shapes = MAPS


class TestFlip(OpContract):
    name = "flip"
    args: ClassVar = {"dims": (1,)}
    shapes = TOKENS


class TestPad(OpContract):
    name = "pad"
    args: ClassVar = {"padding": (1, 2, 0, 1), "mode": "reflect"}
    shapes = MAPS


class TestPadWithAValue(OpContract):
    name = "pad"
    args: ClassVar = {"padding": (1, -2), "value": 3.0}
    shapes = TOKENS


class TestCast(OpContract):
    name = "cast"
    args: ClassVar = {"dtype": "float64"}
    shapes = TOKENS
    follows_dtype = False


class TestCastToTheModel(OpContract):
    name = "cast"
    args: ClassVar = {"dtype": "float"}
    shapes = TOKENS
    dtype = torch.int64


class TestDetach(OpContract):
    name = "detach"
    shapes = TOKENS
    passes_gradient = False


class TestStraightThrough(OpContract):
    name = "straight_through"
    shapes = TOKENS * 2

    def test_gradients_reach_parameters_and_inputs(self) -> None:
        value, gradient = (x.requires_grad_() for x in self.inputs())
        made = self.build()(value, gradient)
        torch.testing.assert_close(made, value)
        made.sum().backward()
        assert value.grad is None
        assert torch.equal(gradient.grad, torch.ones_like(gradient))


class TestDiv(Positive, OpContract):
    name = "div"
    shapes = (*TOKENS, (3, 1, 8))


class TestScale(OpContract):
    name = "scale"
    args: ClassVar = {"factor": 2.0, "offset": -1.0}
    shapes = TOKENS


class TestPower(OpContract):
    name = "power"
    args: ClassVar = {"exponent": 3.0}
    shapes = TOKENS


class TestExp(OpContract):
    name = "exp"
    shapes = TOKENS


class TestLog(Positive, OpContract):
    name = "log"
    shapes = TOKENS


class TestSqrt(Positive, OpContract):
    name = "sqrt"
    shapes = TOKENS


class TestAbs(OpContract):
    name = "abs"
    shapes = TOKENS


class TestSin(OpContract):
    name = "sin"
    shapes = TOKENS


class TestCos(OpContract):
    name = "cos"
    shapes = TOKENS


class TestClamp(OpContract):
    name = "clamp"
    args: ClassVar = {"low": -0.5, "high": 1.0}
    shapes = TOKENS


class TestMatmul(OpContract):
    name = "matmul"
    shapes = ((3, 2, 5, 8), (3, 2, 8, 4))


class TestEinsum(OpContract):
    name = "einsum"
    args: ClassVar = {"equation": "bid,bjd->bij"}
    shapes = ((3, 5, 8), (3, 4, 8))


class TestMean(OpContract):
    name = "mean"
    args: ClassVar = {"dim": (1, 2)}
    shapes = MAPS


class TestSum(OpContract):
    name = "sum"
    args: ClassVar = {"keepdim": True}
    shapes = TOKENS


class TestMax(OpContract):
    name = "max"
    args: ClassVar = {"dim": (1, 2)}
    shapes = MAPS


class TestMin(OpContract):
    name = "min"
    shapes = TOKENS


class TestVar(OpContract):
    name = "var"
    shapes = TOKENS


class TestLogsumexp(OpContract):
    name = "logsumexp"
    shapes = TOKENS


class TestNormalize(OpContract):
    name = "normalize"
    shapes = TOKENS


class TestCumsum(OpContract):
    name = "cumsum"
    shapes = TOKENS


class TestArgmax(OpContract):
    name = "argmax"
    shapes = TOKENS
    passes_gradient = False


class TestArgsort(OpContract):
    name = "argsort"
    shapes = TOKENS
    passes_gradient = False


class TestTopk(OpContract):
    name = "topk"
    args: ClassVar = {"k": 3}
    shapes = TOKENS


class TestOneHot(OpContract):
    name = "one_hot"
    args: ClassVar = {"classes": 4}
    shapes = ((3, 7),)
    dtype = torch.int64


class TestGather(Indexed, OpContract):
    name = "gather"
    shapes = ((3, 4, 8), (3, 2, 8))

    def test_gradients_reach_parameters_and_inputs(self) -> None:
        x, index = self.inputs()
        self.build()(x.requires_grad_(), index).sum().backward()
        assert x.grad is not None
        assert x.grad.sum() == index.numel()


class TestTake(Indexed, OpContract):
    name = "take"
    shapes = ((3, 4, 8), (3, 2))

    def test_gradients_reach_parameters_and_inputs(self) -> None:
        x, index = self.inputs()
        self.build()(x.requires_grad_(), index).sum().backward()
        assert x.grad is not None
        assert x.grad.sum() == index.numel() * 8


class TestScatterAdd(Indexed, OpContract):
    name = "scatter_add"
    shapes = ((3, 4, 8), (3, 2, 8), (3, 2, 8))

    def test_gradients_reach_parameters_and_inputs(self) -> None:
        x, index, source = self.inputs()
        self.build()(x.requires_grad_(), index, source.requires_grad_()).sum().backward()
        assert torch.equal(x.grad, torch.ones_like(x))
        assert torch.equal(source.grad, torch.ones_like(source))


class TestScatterAddOfRows(TestScatterAdd):
    shapes = ((3, 4, 8), (3, 2), (3, 2, 8))

    def test_it_adds_rows(self) -> None:
        x, index, source = self.inputs()
        wanted = x.clone()
        for sample, places, rows in zip(wanted, index, source, strict=True):
            for place, row in zip(places, rows, strict=True):
                sample[place] += row
        torch.testing.assert_close(self.build()(x, index, source), wanted)


class TestWhere(Masked, OpContract):
    name = "where"
    mask = 0
    shapes = TOKENS * 3

    def test_gradients_reach_parameters_and_inputs(self) -> None:
        condition, x, y = self.inputs()
        self.build()(condition, x.requires_grad_(), y.requires_grad_()).sum().backward()
        assert torch.equal(x.grad, condition.float())
        assert torch.equal(y.grad, 1 - condition.float())


class TestMaskedFill(Masked, OpContract):
    name = "masked_fill"
    args: ClassVar = {"value": -2.0}
    shapes = TOKENS * 2

    def test_gradients_reach_parameters_and_inputs(self) -> None:
        x, mask = self.inputs()
        self.build()(x.requires_grad_(), mask).sum().backward()
        assert torch.equal(x.grad, 1 - mask.float())


class TestCompare(OpContract):
    name = "compare"
    args: ClassVar = {"relation": "le"}
    shapes = TOKENS * 2
    passes_gradient = False


class TestParameter(OpContract):
    name = "parameter"
    args: ClassVar = {"shape": (2, 5)}
    shapes = TOKENS
    passes_gradient = False


class Unbatched:
    """The same for every batch: the result has no rows of samples."""

    def test_a_sample_does_not_depend_on_its_batch(self) -> None:
        together, alone = (self.build()(*self.inputs(n)) for n in (3, 1))  # type: ignore[attr-defined]
        assert torch.equal(together, alone)


class TestUnbatchedParameter(Unbatched, OpContract):
    name = "parameter"
    args: ClassVar = {"shape": (2, 5), "batched": False}
    shapes = TOKENS
    passes_gradient = False


class TestConstant(Unbatched, OpContract):
    name = "constant"
    args: ClassVar = {"values": (1.0, 2.0, 3.0), "shape": (3, 1, 1)}
    shapes = MAPS
    passes_gradient = False


class TestPositions(Unbatched, OpContract):
    name = "positions"
    args: ClassVar = {"start": 2}
    shapes = TOKENS
    passes_gradient = False
