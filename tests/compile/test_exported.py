from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from compile_graphs import hybrid, node, plain
from torch import Tensor

from assembler.compile.exported import exported, save_pt2
from assembler.compile.exported_onnx import save_onnx
from assembler.compile.lower import lower
from assembler.errors import GraphError, InputError
from assembler.graph.core import Graph, TensorType
from assembler.registry import Shape, op


@op("compile_test_fixed")
def fixed(x: Tensor, shape: Shape) -> Tensor:
    return x.reshape(shape[0], 3)


@op("compile_test_looks")
def looks(x: Tensor) -> Tensor:
    return x if x.device.type == "meta" or float(x.sum()) > 0 else -x


@op("compile_test_roots")
def roots(x: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(x)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_saved_program_takes_any_batch_and_gives_equal_outputs(tmp_path: Path, batch: int) -> None:
    """Whatever batch the graph is written for."""
    graph = hybrid()
    shape = (batch, *graph.inputs[0][1].shape[1:])
    module = lower(Graph((("image", TensorType(shape)),), graph.nodes, graph.outputs))
    assert save_pt2(module, tmp_path / "model.pt2") == ""
    assert module.training and module.get_submodule("stage.0.mlp.drop").training
    assert os.listdir(tmp_path) == ["model.pt2"]
    program = torch.export.load(tmp_path / "model.pt2").module()
    module.eval()
    for n in (1, 2, 5):
        x = torch.randn(n, 3, 16, 16)
        assert all(torch.equal(v, module(x)[k]) for k, v in program(x).items())


def test_a_batch_that_an_op_fixes_is_told(tmp_path: Path) -> None:
    module = lower(plain({"a": node("compile_test_fixed", "x")}, 4, 3))
    said = save_pt2(module, tmp_path / "model.pt2")
    assert said.startswith("the batch is fixed at 4: ")
    x = torch.randn(4, 3)
    assert torch.equal(torch.export.load(tmp_path / "model.pt2").module()(x), x)


def test_a_step_that_looks_at_values_is_named(tmp_path: Path) -> None:
    module = lower(plain({"a": node("relu", "x"), "b.c": node("compile_test_looks", "a")}, 2, 3))
    with pytest.raises(GraphError) as told:
        save_pt2(module, tmp_path / "model.pt2")
    problem = told.value.problems[0]
    assert problem.path == "b.c"
    assert problem.message.startswith("the model cannot be exported because of b.c: ")
    assert os.listdir(tmp_path) == []


def test_a_step_without_an_onnx_operator_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    module = lower(plain({"a": node("relu", "x"), "b.c": node("compile_test_roots", "a")}, 2, 3, 3))
    with pytest.raises(GraphError) as told:
        save_onnx(module, tmp_path / "model.onnx")
    problem = told.value.problems[0]
    assert problem.path == "b.c"
    assert problem.message.startswith("the model has no ONNX form because of b.c: ")
    assert problem.hint == "export to pt2"
    assert os.listdir(tmp_path) == []


def test_onnx_tells_which_extra_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError) as told:
        save_onnx(lower(plain({"a": node("relu", "x")}, 2, 3)), tmp_path / "model.onnx")
    assert str(told.value) == (
        "error: ONNX files need onnxscript, which is not installed\n    hint: pip install 'assembler[onnx]'"
    )


def test_inputs_and_outputs_that_are_one_value_have_names_of_their_own(tmp_path: Path) -> None:
    """An output that is called like an input, and one that is an input."""
    ort = pytest.importorskip("onnxruntime")
    graph = plain({"mean": node("relu", "x")}, 2, 3)
    ends = (("x", "mean"), ("mean", "mean"), ("same", "x"))
    module = lower(Graph(graph.inputs, graph.nodes, ends))
    assert save_onnx(module, tmp_path / "model.onnx").startswith("onnxruntime is within 0.0e+00")
    session = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == ["x.out", "mean", "same"]


def test_the_mode_of_every_module_is_as_it_was() -> None:
    module = lower(hybrid())
    module.get_submodule("stage.0").eval()
    before = {n: m.training for n, m in module.named_modules()}
    exported(module)
    assert {n: m.training for n, m in module.named_modules()} == before
