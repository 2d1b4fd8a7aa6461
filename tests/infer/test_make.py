from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn

from assembler.errors import RecipeError, ShapeError
from assembler.infer.make import make
from assembler.registry import Features, Shape, lookup, op


@op("infer_test_stretch")
def stretch(x: Tensor, by: float, shape: Shape) -> Tensor:
    return x * by + shape[-1]


@op("infer_test_twice")
def twice(features: Features, *, ratio: int = 2) -> nn.Module:
    return nn.Sequential(nn.Linear(features, features * ratio), nn.Linear(features * ratio, features))


def test_a_class_gets_its_width_from_axis_1_and_torchs_own_argument_names() -> None:
    conv = make(lookup("op", "conv2d"), {"out": 8, "kernel_size": (3, 5), "bias": False}, [(2, 3, 9, 9)])
    assert isinstance(conv, nn.Conv2d)
    assert (conv.in_channels, conv.out_channels, conv.kernel_size, conv.bias) == (3, 8, (3, 5), None)


def test_a_written_argument_wins_over_the_inferred_one() -> None:
    assert make(lookup("op", "linear"), {"out": 4, "in_features": 7}, [(2, 5)]).in_features == 7  # type: ignore[attr-defined]


def test_a_function_becomes_a_partial_with_the_whole_shape() -> None:
    made = make(lookup("op", "infer_test_stretch"), {"by": 2.0}, [(2, 5)])
    assert isinstance(made, functools.partial)
    assert made.keywords == {"by": 2.0, "shape": (2, 5)}
    assert torch.equal(made(torch.ones(2, 5)), torch.full((2, 5), 7.0))


def test_a_factory_makes_a_module() -> None:
    made = make(lookup("op", "infer_test_twice"), {"ratio": 3}, [(2, 5)])
    assert isinstance(made, nn.Sequential) and made[0].out_features == 15


def test_all_shapes_reach_an_op_that_asks_for_them() -> None:
    made = make(lookup("op", "weighted_sum"), {}, [(2, 3), (2, 3), (2, 3)])
    assert made.weight.shape == (3,)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "args", "shape", "error", "message"),
    [
        ("linear", {"outt": 3}, (2, 5), RecipeError, "linear has no argument 'outt'"),
        ("conv2d", {"out": 3}, (2, 5, 4, 4), RecipeError, "conv2d needs 'kernel_size'"),
        (
            "group_norm",
            {"num_groups": 3},
            (2, 64, 4, 4),
            ShapeError,
            "cannot make group_norm(num_groups=3) for [2, 64, 4, 4]: num_channels (64) must be divisible by "
            "num_groups (3)",
        ),
        (
            "dropout",
            {"p": 2.0},
            (2, 5),
            RecipeError,
            "cannot make dropout(p=2.0): dropout probability has to be between 0 and 1, but got 2.0",
        ),
        (
            "conv2d",
            {"out": 3, "kernel_size": 3},
            (2,),
            ShapeError,
            "conv2d takes its 'in_channels' from axis 1, and its input is [2]",
        ),
    ],
)
def test_refusals_name_the_op_and_the_arguments(
    name: str, args: dict[str, object], shape: tuple[int, ...], error: type[RecipeError], message: str
) -> None:
    with pytest.raises(error) as caught:
        make(lookup("op", name), args, [shape])
    assert caught.value.problems[0].message == message
    assert type(caught.value) is error


def test_an_unknown_argument_gets_a_suggestion() -> None:
    with pytest.raises(RecipeError, match=r"did you mean 'out'\?"):
        make(lookup("op", "linear"), {"outt": 3}, [(2, 5)])
