"""Every reference recipe in another dtype: `.to(torch.bfloat16)` and `.double()` of the built module."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_recipes import RECIPES, outputs, small

import assembler as asm
from assembler.compile.exported import examples
from assembler.graph.modes import in_mode

MADE = """\
kind: model
inputs: {ids: {shape: [B, 6], dtype: int64}}
graph:
  rows: {op: one_hot, classes: 9}
  mix: {op: linear, out: 4}
  number: {op: cast, dtype: float, from: ids}
  column: {op: unsqueeze, dim: -1}
  more: {op: linear, out: 4}
  shift: {op: constant, values: [0.5, 1.5, 2.5, 3.5], shape: [1, 4]}
  total: {op: add, from: [mix, more, shift]}
  exact: {op: cast, dtype: float32}
outputs: {y: total, exact: exact}
"""


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Nested inputs with the floating ones in another dtype."""
    if isinstance(value, dict):
        return {key: cast(inner, dtype) for key, inner in value.items()}
    return value.to(dtype) if value.is_floating_point() else value


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_in_the_dtype_of_its_module(name: str, dtype: torch.dtype) -> None:
    module = copy.deepcopy(small(name)).to(dtype)
    for mode in ("eval", "train"):
        inputs = cast(examples(in_mode(module.meta["graph"], mode), 3, seed=7), dtype)  # type: ignore[arg-type]
        for key, value in outputs(module.train(mode == "train"), inputs).items():
            assert value.dtype == dtype or not value.is_floating_point(), key
            assert value.isfinite().all()


def test_numbers_that_no_input_holds_are_of_the_models_dtype(tmp_path: Any) -> None:
    (tmp_path / "made.yaml").write_text(MADE)
    module, ids = asm.build(tmp_path / "made.yaml"), torch.arange(12).reshape(2, 6) % 9
    single = module(ids)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        made = module.to(dtype)(ids)
        assert made["y"].dtype == dtype and made["exact"].dtype == torch.float32
        torch.testing.assert_close(made["y"].float(), single["y"], rtol=0.05, atol=0.05)
    assert set(module.state_dict()) == {"mix.weight", "mix.bias", "more.weight", "more.bias"}
