"""Weights that are another step's, transposed."""

from __future__ import annotations

import copy
import sys
import types

import pytest
import torch

from assembler.compile.source import to_source
from assembler.compile.weights import load_weights, save_weights
from assembler.errors import GraphError
from assembler.graph.diff import diff
from assembler.infer.cost import total, train_flops

AUTOENCODER = """
    inputs: {x: [B, 6]}
    graph:
      encode: {op: linear, out: 2}
      act: tanh
      decode: {op: linear, out: 6, share: {weight: encode.weight.T}}
"""


def test_a_transposed_weight_is_held_once(graph, model) -> None:
    found = model(AUTOENCODER)
    assert list(found.state_dict()) == ["encode.weight", "encode.bias", "decode.bias"]
    x, code = torch.randn(3, 6), found.encode
    wanted = torch.tanh(code(x)) @ code.weight + found.decode.bias
    torch.testing.assert_close(found(x), wanted)
    assert total(graph(AUTOENCODER)).params == sum(p.numel() for p in found.parameters()) == 12 + 2 + 6
    untied = AUTOENCODER.replace(", share: {weight: encode.weight.T}", "")
    assert train_flops(graph(AUTOENCODER)) == train_flops(graph(untied))
    again = copy.deepcopy(found)
    again.encode.weight.data.zero_()
    torch.testing.assert_close(again(x), again.decode.bias.expand(3, 6))
    torch.testing.assert_close(found(x), wanted)


def test_gradients_of_both_uses_are_one(model) -> None:
    found = model(AUTOENCODER)
    x = torch.randn(3, 6)
    found(x).square().sum().backward()
    weight = found.encode.weight.detach().clone().requires_grad_()
    (torch.tanh(x @ weight.T + found.encode.bias) @ weight + found.decode.bias).square().sum().backward()
    torch.testing.assert_close(found.encode.weight.grad, weight.grad)


def test_weights_files_and_other_forms_keep_it(graph, model, tmp_path) -> None:
    found, x = model(AUTOENCODER), torch.randn(3, 6)
    save_weights(found, tmp_path / "w.safetensors")
    other = model(AUTOENCODER.replace("linear, out: 2", "linear, out: 2, initializers: {weight: zeros}"))
    load_weights(other, tmp_path / "w.safetensors")
    torch.testing.assert_close(other(x), found(x))
    torch.testing.assert_close(torch.compile(found, fullgraph=True, backend="eager")(x), found(x))
    program = torch.export.export(found, (x,))
    assert set(program.state_dict) == set(found.state_dict())
    torch.testing.assert_close(program.module()(x), found(x))
    module = types.ModuleType("transposed_model")
    module.__file__ = "model.py"
    sys.modules[module.__name__] = module
    exec(compile(to_source(graph(AUTOENCODER)), "model.py", "exec"), module.__dict__)
    written = module.Model()
    written.load_state_dict(found.state_dict())
    torch.testing.assert_close(written(x), found(x))


def test_initialisers_of_the_model_pass_it_over(model) -> None:
    found = model(AUTOENCODER.replace("    graph:", "    initializers: {linear.weight: ones}\n    graph:"))
    assert found.encode.weight.eq(1).all()


def test_a_loop_reads_the_transposed_weight_of_a_step_outside(model) -> None:
    found = model("""
        inputs: {x: [B, 6]}
        graph:
          down: {op: linear, out: 2, bias: false}
          go:
            {op: loop, times: 2, carry: [h], from: {h: x}, outputs: {h: b},
             body: {a: {op: linear, out: 2, bias: false, share: down},
                    b: {op: linear, out: 6, bias: false, share: {weight: down.weight.T}}}}
          sum: {op: add, from: [go, x]}
          join: {op: concat, dim: -1, from: [sum, down]}
    """)
    assert list(found.state_dict()) == ["down.weight"]
    x, weight = torch.randn(3, 6), found.down.weight
    once = x @ weight.T @ weight
    torch.testing.assert_close(found(x)[:, :6], once @ weight.T @ weight + x)


def test_transposed_or_not_tells_graphs_apart(graph) -> None:
    square = AUTOENCODER.replace("out: 2", "out: 6")
    turned, plain = graph(square), graph(square.replace("weight.T", "weight"))
    assert turned.fingerprint != plain.fingerprint
    assert str(diff(turned, plain)) == "~ decode: share weight encode.weight.T -> encode.weight"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            AUTOENCODER.replace("out: 6", "out: 5"),
            r"'weight' \[5, 2\] cannot be 'weight\.T' \[6, 2\]: their shapes differ",
        ),
        (AUTOENCODER.replace("weight.T}", "bias.T}"), r"'bias' \[2\] is no matrix that could be transposed"),
    ],
)
def test_what_cannot_be_transposed_is_told(model, text: str, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        model(text)
