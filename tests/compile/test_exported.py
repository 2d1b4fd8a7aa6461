from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from compile_graphs import hybrid, node, plain
from torch import Tensor

from assembler.compile.exported import save_pt2
from assembler.compile.lower import lower
from assembler.errors import GraphError
from assembler.registry import Shape, op


@op("compile_test_fixed")
def fixed(x: Tensor, shape: Shape) -> Tensor:
    return x.reshape(shape[0], 3)


@pytest.mark.parametrize("example", [1, 4])
def test_a_saved_program_takes_any_batch_and_gives_equal_outputs(tmp_path: Path, example: int) -> None:
    module = lower(hybrid())
    save_pt2(module, torch.randn(example, 3, 16, 16), tmp_path / "model.pt2")
    assert module.training and module.get_submodule("stage.0.mlp.drop").training
    assert os.listdir(tmp_path) == ["model.pt2"]
    program = torch.export.load(tmp_path / "model.pt2").module()
    module.eval()
    for batch in (1, 2, 5):
        x = torch.randn(batch, 3, 16, 16)
        assert all(torch.equal(v, module(x)[k]) for k, v in program(x).items())


def test_an_op_that_fixes_the_batch_is_reported(tmp_path: Path) -> None:
    module = lower(plain({"a": node("compile_test_fixed", "x")}, 2, 3))
    with pytest.raises(GraphError, match="the model cannot be exported for any batch: "):
        save_pt2(module, torch.randn(2, 3), tmp_path / "model.pt2")
    assert os.listdir(tmp_path) == []
