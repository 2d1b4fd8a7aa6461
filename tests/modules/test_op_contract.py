"""The contract finds what it is there to find: each of these ops breaks one of its promises."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from assembler.registry import Entry, Shape
from assembler.registry.live import describe
from assembler.testing import OpContract


def batch_mean(x: Tensor) -> Tensor:
    return x - x.mean(0)


def fixed_batch(x: Tensor, shape: Shape) -> Tensor:
    return x.reshape(shape[0], -1)


def unequal_on_meta(x: Tensor) -> Tensor:
    return x if x.is_meta else x.flatten(1)


def detached(x: Tensor) -> Tensor:
    return x.detach()


def noisy(x: Tensor) -> Tensor:
    return x + torch.rand_like(x)


def overflows(x: Tensor) -> Tensor:
    return x / 0


def widens(x: Tensor) -> Tensor:
    return x.float()


class UnusedWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + 1


class HiddenState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.rand(1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Unprintable(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x

    def extra_repr(self) -> str:
        return ""[0]


class Broken(OpContract):
    name = "broken"
    shapes = ((3, 4, 5),)
    broken: ClassVar[object]

    def entry(self) -> Entry:
        return describe("op", self.name, self.broken, {})


CASES = [
    (batch_mean, "a_sample_does_not_depend_on_its_batch", "not close"),
    (fixed_batch, "function_traces_to_a_graph", "invalid for input of size 20"),
    (
        unequal_on_meta,
        "meta_device_gives_the_shape_of_a_real_run",
        r"\[3, 4, 5\] on the meta device, torch.float32 \[3, 20\]",
    ),
    (detached, "gradients_reach_parameters_and_inputs", "does not require grad"),
    (noisy, "evaluation_is_deterministic", "two runs on the same input differ"),
    (overflows, "bfloat16_autocast", "not finite under bfloat16 autocast"),
    (widens, "follows_the_dtype_of_its_model", "a torch.bfloat16 model's op makes torch.float32"),
    (UnusedWeight, "gradients_reach_parameters_and_inputs", "no gradient reaches weight"),
    (HiddenState, "state_dict_round_trip", "something that matters is not in it"),
    (Unprintable, "repr", "index out of range"),
]


@pytest.mark.parametrize(("broken", "test", "message"), CASES, ids=[c[0].__name__ for c in CASES])
def test_a_broken_op_fails(broken, test, message):
    case = type("Case", (Broken,), {"broken": staticmethod(broken)})()
    with pytest.raises(Exception, match=message):
        getattr(case, f"test_{test}")()
