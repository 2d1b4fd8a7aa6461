"""Ops that the compiler resolves: a further output of a step, and a value that depends on the mode."""

from __future__ import annotations

from torch import Tensor

from assembler.registry import op


@op("item")
def item(input: Tensor, *, output: str) -> Tensor:
    """One of the outputs of a step that has several, by name or number; a recipe writes `from: step.output`."""
    raise AssertionError(f"'{output}' is taken when the step is called")


@op("switch")
def switch(train: Tensor, eval: Tensor) -> Tensor:
    """One value in training, another in evaluation; what only the other mode needs is not computed."""
    return eval
