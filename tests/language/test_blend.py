"""Layers whose weights are a weighted sum of several sets, and what becomes of them as plain steps."""

from __future__ import annotations

import pytest
import torch

import assembler as asm
from assembler.errors import AssemblerError
from assembler.recipe.document import parse

LINE = """
kind: model
vars: {depth: 4}
inputs: {x: [B, 5, 8]}
blocks:
  layer:
    body: {norm: layer_norm, mix: {op: attention, num_heads: 2}, fc: {op: linear, out: 8}}
graph:
  block:
    repeat: =depth
    share: true
    body:
      at: {op: literal, values: "=[1, j / depth]", shape: [2]}
      sum: {op: blend, from: {x: input, by: at}, body: {layer: {op: layer, from: x}}}
  head: {op: linear, out: 3}
"""


def built(text: str = LINE, *, seed: int = 0) -> torch.nn.Module:
    return asm.build(parse(text, "m.yaml"), seed=seed).double().eval()


def test_all_depths_have_the_same_weights() -> None:
    shallow, deep = (built(LINE.replace("depth: 4", f"depth: {n}")).state_dict() for n in (2, 7))
    assert {k: v.shape for k, v in shallow.items()} == {k: v.shape for k, v in deep.items()}


def test_a_layer_computes_with_the_sum_of_the_sets() -> None:
    model, x = built(LINE.replace("depth: 4", "depth: 2")), torch.randn(2, 5, 8, dtype=torch.float64)
    state = model.state_dict()
    plain = built(LINE.split("  block:")[0] + "  a: {op: layer}\n  b: {op: layer}\n  head: {op: linear, out: 3}\n")
    sets = [{k.split(f"sets.{n}.layer.")[1]: t for k, t in state.items() if f"sets.{n}." in k} for n in (0, 1)]
    made = {f"a.{k}": t for k, t in sets[0].items()} | {f"b.{k}": t + 0.5 * sets[1][k] for k, t in sets[0].items()}
    plain.load_state_dict(made | {k: t for k, t in state.items() if k.startswith("head.")})
    assert torch.allclose(model(x), plain(x), atol=1e-12)


def test_what_a_line_gives_is_linear_in_its_sets() -> None:
    """generator(2 g1 - 3 g2) = 2 generator(g1) - 3 generator(g2), for every tensor of every layer."""
    one, two, both = built(seed=1), built(seed=2), built(seed=3)
    pairs = zip(one.state_dict().items(), two.state_dict().values(), strict=True)
    both.load_state_dict({k: 2 * a - 3 * b for (k, a), b in pairs})
    first, second, mixed = (asm.rewrite(m, "unblend").state_dict() for m in (one, two, both))
    assert len([k for k in mixed if k.startswith("block.3")]) == 8
    for key, tensor in mixed.items():
        assert torch.allclose(tensor, 2 * first[key] - 3 * second[key], atol=1e-12), key


def test_unblend_keeps_the_function_and_gives_each_step_its_own_weights() -> None:
    model, x = built(), torch.randn(2, 5, 8, dtype=torch.float64)
    free = asm.rewrite(model, "unblend")
    assert torch.allclose(model(x), free.eval()(x), atol=1e-12)
    assert not any("sets" in key for key in free.state_dict())
    assert sum(p.numel() for p in free.parameters()) > 1.9 * sum(p.numel() for p in model.parameters())


def test_gradients_reach_all_sets_and_the_numbers_of_a_router() -> None:
    text = """
kind: model
inputs: {x: [B, 8]}
graph:
  by: {op: parameter, shape: [3], init: ones, batched: false}
  sum: {op: blend, from: {x: x, by: by}, body: {fc: {op: linear, out: 4, from: x}}}
"""
    model = built(text)
    model(torch.randn(2, 8, dtype=torch.float64)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters()) and "by.weight" in model.state_dict()


def test_it_compiles_and_is_exported() -> None:
    model, x = asm.build(parse(LINE, "m.yaml")).eval(), torch.randn(2, 5, 8)
    program = torch.export.export(model, (x,))
    assert torch.allclose(program.module()(x), model(x), atol=1e-6)


def test_a_blend_says_what_it_reads() -> None:
    with pytest.raises(AssemblerError) as caught:
        built(LINE.replace("shape: [2]", "shape: [1, 2]"))
    (problem, *_) = caught.value.problems
    assert "under 'by' how much of each set of weights there is, [K], not [1, 2]" in problem.message
