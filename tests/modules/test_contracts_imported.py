"""The ops that hold the tensors of imported models keep the contract."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from assembler.infer.make import make
from assembler.registry import lookup
from assembler.testing import OpContract

TOKENS = ((3, 16, 8),)


class Unbatched:
    """The same for every batch: the result has no rows of samples."""

    def test_a_sample_does_not_depend_on_its_batch(self) -> None:
        together, alone = (self.build()(*self.inputs(n)) for n in (3, 1))  # type: ignore[attr-defined]
        assert torch.equal(together, alone)


class TestStored(Unbatched, OpContract):
    name = "stored"
    args: ClassVar = {"shape": (2, 5)}
    shapes = TOKENS
    passes_gradient = False


class TestSized(OpContract):
    name = "sized"
    args: ClassVar = {"shape": (-1, 16, 8), "name": "ids", "most": (-1, 20, -1)}
    shapes = TOKENS


class TestStoredBuffer(Unbatched, OpContract):
    name = "stored"
    args: ClassVar = {"shape": (2, 5), "learned": False, "dtype": "int64"}
    shapes = TOKENS
    passes_gradient = False


class TestLiteral(Unbatched, OpContract):
    name = "literal"
    args: ClassVar = {"values": (1.0, 2.5, 3.0), "shape": (1, 3)}
    shapes = TOKENS
    passes_gradient = False


def test_a_literal_that_counts() -> None:
    args = {"values": (2,), "shape": (1, 4), "step": 3.0, "dtype": "int64"}
    made = make(lookup("op", "literal"), args, TOKENS)
    assert made(torch.zeros(3, 16, 8)).tolist() == [[2, 5, 8, 11]]


def test_numbers_that_do_not_fill_the_shape() -> None:
    with pytest.raises(Exception, match=r"2 values do not fill the shape \[3\]"):
        make(lookup("op", "literal"), {"values": (1.0, 2.0), "shape": (3,)}, TOKENS)
