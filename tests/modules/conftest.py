"""Ops called as a recipe would: by name, arguments and input tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from assembler.infer.make import make
from assembler.registry import lookup


@pytest.fixture(scope="session")
def built() -> Callable[..., Any]:
    """`built(name, *inputs, **args)`: the op for these inputs."""

    def build(name: str, *xs: Tensor, **args: Any) -> Any:
        torch.manual_seed(0)
        return make(lookup("op", name), args, [tuple(x.shape) for x in xs])

    return build


@pytest.fixture(scope="session")
def run(built: Callable[..., Any]) -> Callable[..., Tensor]:
    """`run(name, *inputs, **args)`: what the op makes of them, in evaluation."""

    def call(name: str, *xs: Tensor, **args: Any) -> Tensor:
        op = built(name, *xs, **args)
        made: Tensor = op.eval()(*xs) if isinstance(op, nn.Module) else op(*xs)
        return made

    return call
