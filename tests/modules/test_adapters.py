"""Layers whose weight is a product, and models that they are put into."""

from __future__ import annotations

import pytest
import torch

from assembler.graph.text import from_text
from assembler.infer.shape import shapes
from assembler.modules.adapters import KroneckerLinear, LowRankLinear
from assembler.rewrites.drive import rewritten
from assembler.rewrites.modules import filled
from assembler.rewrites.spec import order

X = torch.randn(5, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_a_kronecker_layer_is_that_of_the_product() -> None:
    layer = KroneckerLinear(8, out=6, factor=(3, 4), scale=0.5).double()
    torch.nn.init.normal_(layer.b)
    wanted = X @ torch.kron(layer.a, layer.b).T * 0.5
    assert layer.b.shape == (2, 2) and torch.allclose(layer(X), wanted, atol=1e-12)


def test_a_low_rank_layer_is_that_of_the_product() -> None:
    layer = LowRankLinear(8, rank=2, scale=0.5).double()
    torch.nn.init.normal_(layer.b)
    assert torch.allclose(layer(X), X @ (layer.b @ layer.a).T * 0.5, atol=1e-12)


def test_a_factor_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a factor of \[3, 4\] does not divide a weight of \[8, 8\]"):
        KroneckerLinear(8, factor=(3, 4))


def test_an_adapted_and_merged_model_is_the_one_before_with_other_weights() -> None:
    graph = from_text(
        'graph "m" (%x: float32[2, 8]) {\n  %a.q = linear(input=%x) {out = 6}\n  %y = relu(input=%a.q)\n'
        "  return y = %y\n}"
    )
    state = {"a.q.weight": torch.randn(6, 8), "a.q.bias": torch.randn(6)}
    there, weights = rewritten(graph, order({"rewrite": "adapt", "args": {"rank": 2}}).rewrite, state, "a.*")
    assert list(there.nodes) == ["a.q.base", "a.q.adapter", "a.q.sum", "y"]
    assert weights is not None and torch.equal(weights["a.q.base.weight"], state["a.q.weight"])
    weights["a.q.adapter.b"].normal_()
    back, merged = rewritten(there, order("merge_adapters").rewrite, weights)
    assert back.nodes == graph.nodes and merged is not None and set(merged) == set(state)
    x = torch.randn(2, 8)
    with torch.no_grad():
        assert torch.allclose(filled(there, weights)(x), filled(back, merged)(x), atol=1e-5)
    assert not torch.allclose(merged["a.q.weight"], state["a.q.weight"])


def test_what_is_no_sum_of_linear_layers_is_not_merged() -> None:
    graph = from_text(
        'graph "m" (%x: float32[2, 8]) {\n  %a = linear(input=%x) {out = 8}\n  %b = linear(input=%x) {out = 8}\n'
        "  %c = add(%a, %b)\n  %d = low_rank_linear(x=%c)\n  %y = add(%c, %d)\n  return y = %y\n}"
    )
    assert order("merge_adapters").rewrite.sites(graph, shapes(graph)) == ()
