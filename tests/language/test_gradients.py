"""Gradients as values: `gradient` against torch, in every mode and form; ops that take gradients themselves."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from assembler.compile.exported import exported
from assembler.compile.exported_onnx import save_onnx
from assembler.compile.lower import lower
from assembler.compile.source import to_source
from assembler.errors import AssemblerError, GraphError
from assembler.infer.cost import train_flops
from assembler.infer.shape import shapes
from assembler.pipeline.exporting import export
from assembler.recipe.document import parse
from assembler.registry import op
from assembler.wiring.build import build
from assembler.wiring.lint import lint

SECOND = """
kind: model
inputs: {x: [B, 3], c: [B, 3]}
blocks:
  net:
    inputs: [x, c]
    body:
      both: {op: mul, from: [x, c]}
      up: {op: linear, out: 8}
      norm: batch_norm1d
      act: tanh
      end: {op: linear, out: 1}
graph:
  net: {op: net, from: [x, c]}
  squared: {op: mul, from: [x, x]}
  curve:
    op: gradient
    by: [at, c]
    collect: [slope]
    from: {at: squared, c: c}
    body:
      slope: {op: gradient, by: [x], from: {x: at}, body: {y: {op: net, from: [x, c], share: net}}}
      size: {op: aten.square}
    outputs: {size: size, slope: slope}
outputs: {y: net, curve: curve, by_c: curve.c, slope: curve.slope}
"""


@op("gradients_test_slope")
def slope(of: Tensor, on: Tensor) -> Tensor:
    return torch.autograd.grad(of.sum(), on, create_graph=True)[0]


@op("gradients_test_watch")
def watch(x: Tensor) -> Tensor:
    return x.detach().requires_grad_()


def made(text: str = SECOND) -> nn.Module:
    document = parse(text, "page.yaml")
    assert lint(document) == []
    return lower(build(document.model))


def inputs() -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(0)
    return {name: torch.randn(5, 3, generator=draws) for name in ("x", "c")}


def by_hand(model: nn.Module, x: Tensor, c: Tensor) -> dict[str, Tensor]:
    """What SECOND is, by torch alone."""
    net = model.get_submodule("net")

    def f(x: Tensor, c: Tensor) -> Tensor:
        return net.end(net.norm(net.up(x * c)).tanh())

    y, at, c2 = f(x, c), (x * x).detach().requires_grad_(), c.detach().requires_grad_()
    slope = torch.autograd.grad(f(at, c2).sum(), at, create_graph=True)[0]
    curve, by_c = torch.autograd.grad(slope.square().sum(), (at, c2), create_graph=True)
    return {"y": y, "curve": curve, "by_c": by_c, "slope": slope}


def update(model: nn.Module, call: Callable[..., dict[str, Tensor]]) -> dict[str, Tensor]:
    """The gradients of the weights by what a call makes."""
    model.zero_grad()
    sum(value.square().sum() for value in call(**inputs()).values()).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("training", [True, False])
def test_first_and_second_derivatives_are_those_of_torch(training: bool) -> None:
    model = made().train(training)
    wanted = by_hand(model, **inputs())
    found = model(**inputs())
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(update(model, model), update(model, lambda **xs: by_hand(model, **xs)))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_values_are_the_same_without_gradients_and_hold_none(mode: Callable[[], object]) -> None:
    model = made().eval()
    wanted = model(**inputs())
    with mode():
        found = model(**inputs())
        given = model(**{name: x.clone() for name, x in inputs().items()})
    assert all(torch.equal(found[k], wanted[k]) and torch.equal(given[k], wanted[k]) for k in wanted)
    assert not any(value.requires_grad for value in found.values())


def test_gradients_reach_what_was_computed_before() -> None:
    xs = inputs()
    x = xs["x"].clone().requires_grad_()
    model = made().eval()
    model(x, xs["c"])["curve"].sum().backward()
    at = (xs["x"] * xs["x"]).requires_grad_()
    net = model.get_submodule("net")
    value = net.end(net.norm(net.up(at * xs["c"])).tanh()).sum()
    first = torch.autograd.grad(value, at, create_graph=True)[0]
    curve = torch.autograd.grad(first.square().sum(), at, create_graph=True)[0]
    torch.testing.assert_close(x.grad, torch.autograd.grad(curve.sum(), at)[0] * 2 * xs["x"])


@pytest.fixture
def alone(tmp_path: Path) -> Callable[[nn.Module], nn.Module]:
    """The module of a model's own file."""

    def load(model: nn.Module) -> nn.Module:
        module = types.ModuleType("gradients_file")
        module.__file__ = str(tmp_path / "model.py")
        (tmp_path / "model.py").write_text(to_source(model.meta["graph"]))
        sys.modules["gradients_file"] = module
        exec(compile((tmp_path / "model.py").read_text(), module.__file__, "exec"), module.__dict__)
        found: nn.Module = module.Model()
        found.load_state_dict(model.state_dict())
        return found

    return load


def test_the_file_of_the_model_computes_the_same(alone: Callable[[nn.Module], nn.Module]) -> None:
    model = made()
    file = alone(model)
    for training in (True, False):
        model.train(training), file.train(training)
        assert all(
            torch.equal(a, b) for a, b in zip(model(**inputs()).values(), file(**inputs()).values(), strict=True)
        )
    assert all(
        torch.equal(a, b) for a, b in zip(update(model, model).values(), update(file, file).values(), strict=True)
    )
    with torch.inference_mode():
        assert not any(value.requires_grad for value in file(**inputs()).values())


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler's, of its own looks
@pytest.mark.parametrize("which", ["module", "file"])
def test_compiled_training_is_the_same(which: str, alone: Callable[[nn.Module], nn.Module]) -> None:
    model = made().eval()
    wanted = update(model, model)
    taken = model if which == "module" else alone(model).eval()
    torch._dynamo.reset()
    torch.testing.assert_close(update(taken, torch.compile(taken, backend="aot_eager")), wanted)


def test_attention_has_second_derivatives() -> None:
    model = made(
        """
kind: model
inputs: {x: [B, 4, 8]}
graph:
  slope:
    op: gradient
    by: [x]
    from: {x: x}
    body: {mix: {op: attention, num_heads: 2, from: x}, size: {op: aten.square}}
"""
    )
    model(torch.randn(2, 4, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_what_does_not_depend_has_zeros() -> None:
    model = made(
        """
kind: model
inputs: {x: [B, 3]}
graph:
  bend:
    op: gradient
    by: [x]
    from: {x: x}
    body: {slope: {op: gradient, by: [x], from: {x: x}, body: {y: {op: linear, out: 1, from: x}}}}
"""
    )
    assert torch.equal(model(torch.ones(2, 3)), torch.zeros(2, 3))


def test_shapes_and_costs_are_told_before() -> None:
    graph = made().meta["graph"]
    types = shapes(graph)
    assert {name: types[i].shape for name, i in graph.outputs}["curve"] == (2, 3)
    assert train_flops(graph) > 0


def test_what_can_hold_it_is_written_unasked(tmp_path: Path) -> None:
    said: list[str] = []
    files = export(made(), tmp_path, tell=said.append)
    assert [file.name for file in files] == ["model.safetensors", "config.json", "model.py"]
    assert said == ["no model.pt2: the model cannot be exported because of curve (gradient)"]


def test_programs_that_cannot_hold_it_say_so(tmp_path: Path) -> None:
    for save in (exported, lambda model: save_onnx(model, tmp_path / "model.onnx")):
        with pytest.raises(GraphError) as error:
            save(made())
        problem = error.value.problems[0]
        assert problem.message == "the model cannot be exported because of curve (gradient)"
        assert (
            problem.hint
            == "torch.export cannot hold a gradient that a model computes: export the formats safetensors and source"
        )


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{op: gradient, from: {x: x}, body: {y: {op: sum}}}", "op 'gradient' needs 'by'"),
        ("{op: gradient, by: [], from: {x: x}, body: {y: {op: sum}}}", "gradient needs an input in 'by'"),
        (
            "{op: gradient, by: [z], from: {x: x}, body: {y: {op: sum}}}",
            "gradient is by 'z', which is not among what it reads: x",
        ),
        (
            "{op: gradient, by: [n], from: {n: n}, body: {y: {op: cast, dtype: float}}}",
            "gradient is by 'n', which is int64",
        ),
        (
            "{op: gradient, by: [x], of: z, from: {x: x}, body: {y: {op: sum}}}",
            "the body of 'slope' has no output 'z'",
        ),
        (
            "{op: gradient, by: [x], collect: [x], from: {x: x}, body: {y: {op: sum}}, outputs: {x: y}}",
            "gradient would have two outputs called 'x'",
        ),
    ],
)
def test_a_mistake_is_told(step: str, said: str) -> None:
    with pytest.raises(AssemblerError) as error:
        shapes(
            build(
                parse(
                    f"kind: model\ninputs: {{x: [B, 3], n: {{shape: [B], dtype: int64}}}}\ngraph: {{slope: {step}}}",
                    "t",
                ).model
            )
        )
    assert said in error.value.problems[0].message


@pytest.mark.parametrize("order", ["{of: act, on: seen}", "{on: seen, of: act}"])
def test_an_op_may_take_gradients_itself(order: str) -> None:
    model = made(
        f"""
kind: model
inputs: {{x: [B, 3]}}
graph:
  seen: {{op: gradients_test_watch, from: x}}
  act: tanh
  slope: {{op: gradients_test_slope, from: {order}}}
"""
    )
    graph = model.meta["graph"]
    x = torch.randn(2, 3)
    torch.testing.assert_close(model(x), 1 - x.tanh().square())
    assert train_flops(graph) == 0
