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
from assembler.recipe.document import parse
from assembler.registry import Shape, op
from assembler.wiring.build import build


@op("compile_test_fixed")
def fixed(x: Tensor, shape: Shape) -> Tensor:
    return x.reshape(shape[0], 3)


@op("compile_test_looks")
def looks(x: Tensor) -> Tensor:
    return x if x.device.type == "meta" or float(x.sum()) > 0 else -x


@op("compile_test_roots")
def roots(x: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(x)


@op("compile_test_greatest")
def greatest(x: Tensor, mask: Tensor) -> Tensor:
    return (x / mask * mask).amax(1)  # not a number in torch where there is one, in onnxruntime not


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


FOURIER = """
kind: model
inputs: {x: [B, 8, 16]}
graph:
  f: {op: aten.fft_rfft, dim: 2}
  low: {op: slice, dim: 2, stop: 4}
  parts: aten.view_as_real
  PAD
  whole: aten.view_as_complex
  y: {op: aten.fft_irfft, n: 16, dim: 2}
"""
SPECTRAL = """
kind: model
inputs: {x: [B, 8]}
graph:
  w: {op: parameter, shape: [16, 8], batched: false, from: x}
  NORM
  normed: {op: div, from: [w, s]}
  y: {op: einsum, equation: "bi,oi->bo", from: [x, normed]}
"""
ROUNDS = """start: {op: parameter, shape: [8], init: ones, batched: false, frozen: true, from: x}
  v:
    op: loop
    times: 4
    carry: [v]
    from: {v: start}
    body:
      u: {op: einsum, equation: "oi,i->o", from: [w, v]}
      back: {op: einsum, equation: "oi,o->i", from: [w, u]}
      unit: {op: normalize, dim: 0}
    outputs: {v: unit}
  u: {op: einsum, equation: "oi,i->o", from: [w, v]}
  s: aten.linalg_vector_norm"""


@pytest.mark.parametrize(
    ("no", "yes", "said"),
    [
        (
            FOURIER.replace("PAD", ""),
            FOURIER.replace("PAD", "wide: {op: aten.constant_pad_nd, pad: [0, 0, 0, 5]}"),
            "an inverse FFT of fewer than n // 2 + 1 frequencies pads complex numbers: pad their parts yourself, "
            "before aten.view_as_complex; or export to pt2",
        ),
        (
            SPECTRAL.replace("NORM", "s: {op: aten.linalg_matrix_norm, ord: 2, dim: [0, 1], from: w}"),
            SPECTRAL.replace("NORM", ROUNDS),
            "the largest singular value is also that of some rounds of power iteration, a loop of products; "
            "or export to pt2",
        ),
    ],
)
def test_what_onnx_has_no_operator_for_is_told_with_what_it_has(no: str, yes: str, said: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    ours, other = (lower(build(parse(text, "page.yaml").model)) for text in (no, yes))
    with pytest.raises(GraphError) as told:
        save_onnx(ours, tmp_path / "model.onnx")
    assert told.value.problems[0].hint == said
    for p in ours.parameters():  # one direction is much longer than all others
        torch.nn.init.normal_(p, 3.0, 0.3)
    other.load_state_dict(ours.state_dict(), strict=False)  # where power iteration starts is its own
    x = torch.randn(2, *ours.meta["graph"].inputs[0][1].shape[1:])
    torch.testing.assert_close(other(x), ours(x), rtol=1e-3, atol=1e-3)
    assert save_onnx(other, tmp_path / "model.onnx").startswith("onnxruntime is within")


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


MASKED = """
kind: model
inputs: {tokens: {shape: [B, 6], dtype: int64}, mask: {shape: [B, 6], dtype: int64}}
graph:
  e: {op: embedding, num_embeddings: 9, out: 8, from: tokens}
  a: {op: dot_product_attention, num_heads: 2, causal: true, from: {q: e, k: e, v: e, mask: mask}}
  b: {op: dot_product_attention, num_heads: 2, causal: true, from: {q: a, k: a, v: a, mask: mask}}
"""


def test_a_token_that_sees_nothing_is_in_onnx_what_it_is_in_torch(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = lower(build(parse(MASKED, "page.yaml").model)).eval()
    assert save_onnx(model, tmp_path / "model.onnx").startswith("onnxruntime is within")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    tokens = torch.randint(0, 9, (3, 6))
    for mask in ([1] * 6, [1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [0] * 6):
        given = {"tokens": tokens, "mask": torch.tensor([mask] * 3)}
        [made] = session.run(None, {name: value.numpy() for name, value in given.items()})
        torch.testing.assert_close(torch.as_tensor(made), model(**given).detach())


def test_onnx_says_which_input_makes_it_differ(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    text = """
kind: model
inputs: {x: [B, 6], mask: {shape: [B, 6], dtype: int64}}
graph: {y: {op: compile_test_greatest, from: {x: x, mask: mask}}}
"""
    with pytest.raises(GraphError) as told:
        save_onnx(lower(build(parse(text, "page.yaml").model)), tmp_path / "model.onnx")
    said = (
        "onnxruntime's 'output' is inf away from the model's, because of 'mask': it is not where that is 1 everywhere"
    )
    assert told.value.problems[0].message == said
    assert os.listdir(tmp_path) == []
