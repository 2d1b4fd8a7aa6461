"""Ops of language models keep the contract and compute what their papers say."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from assembler.infer.make import make
from assembler.modules.dot_product import DotProductAttention
from assembler.modules.state_space import SelectiveScan, scanned, stepped
from assembler.registry import lookup
from assembler.testing import OpContract


class TestAttentionOfTokens(OpContract):
    name = "dot_product_attention"
    args: ClassVar = {"num_heads": 2, "dropout": 0.1}
    shapes = ((3, 6, 8),) * 3


class TestGroupedAttentionWithEverything(OpContract):
    name = "dot_product_attention"
    args: ClassVar = {"num_heads": 4, "causal": True, "scale": 0.5}
    shapes = ((3, 5, 8), (3, 7, 4), (3, 7, 6), (3, 4, 5, 7), (3, 7))
    passes_gradient: ClassVar = False

    def inputs(self, batch: int = 3) -> list[Tensor]:
        q, k, v, bias, mask = super().inputs(batch)
        return [q, k, v, bias, (mask > -0.5) | (torch.arange(7) == 0)]


class TestDistanceBias(OpContract):
    name = "distance_bias"
    args: ClassVar = {"num_heads": 3, "buckets": 8, "max_distance": 5}
    shapes = ((3, 16, 2),)
    passes_gradient: ClassVar = False


class TestDistanceBiasOfTwoSequences(OpContract):
    name = "distance_bias"
    args: ClassVar = {"bidirectional": False, "buckets": 4, "max_distance": 3}
    shapes = ((3, 16, 2), (3, 5, 2))
    passes_gradient: ClassVar = False


class TestSelectiveScan(OpContract):
    name = "selective_scan"
    shapes = ((3, 6, 8), (3, 6, 8), (3, 6, 4), (3, 6, 4))


class TestParallelSelectiveScan(TestSelectiveScan):
    args: ClassVar = {"method": "parallel"}


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, allowed: Tensor, bias: Tensor) -> Tensor:
    """Attention head by head, as the paper writes it."""
    found = []
    for h, (a, b, c) in enumerate(zip(q.chunk(heads, 2), k.chunk(heads, 2), v.chunk(heads, 2), strict=True)):
        scores = a @ b.transpose(1, 2) / a.shape[2] ** 0.5 + bias[:, h]
        found.append(scores.masked_fill(~allowed, float("-inf")).softmax(-1).nan_to_num() @ c)
    return torch.cat(found, 2)


@given(st.integers(1, 6), st.integers(1, 6), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 99))
def test_attention_is_that_of_the_paper(n: int, m: int, causal: bool, masked: bool, biased: bool, seed: int) -> None:
    torch.manual_seed(seed)
    q, k, v = torch.randn(2, n, 6), torch.randn(2, m, 6), torch.randn(2, m, 4)
    mask, bias = (torch.rand(2, m) > 0.3) | (torch.arange(m) == 0), torch.randn(1, 2, n, m)
    op = DotProductAttention([q.shape, k.shape, v.shape], num_heads=2, causal=causal)
    past = torch.arange(m) <= torch.arange(n)[:, None] + m - n if causal else torch.ones(n, m, dtype=torch.bool)
    allowed = past & (mask[:, None] if masked else torch.ones(2, 1, m, dtype=torch.bool))
    wanted = attention(q, k, v, 2, allowed, bias if biased else torch.zeros_like(bias))
    found = op(q, k, v, bias if biased else None, mask if masked else None)
    seeing = allowed.any(-1)  # what a query that sees nothing gives is of no use
    torch.testing.assert_close(found[seeing], wanted[seeing], atol=1e-5, rtol=0)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5)])
def test_a_mask_is_that_of_all_heads_and_a_blind_query_gives_zeros(shape: tuple[int, ...], apart: bool) -> None:
    q, k, v = torch.randn(2, 3, 6), torch.randn(2, 5, 6), torch.randn(2, 5, 4)
    mask = (torch.rand(shape) > 0.5).long()
    mask[1] = 0
    allowed = (mask if mask.ndim == 3 else mask[:, None]).expand(2, 3, 5).bool()
    wanted = attention(q, k, v, 2, allowed, torch.zeros(1, 2, 3, 5))
    given = [x.unflatten(2, (2, -1)).transpose(1, 2) for x in (q, k, v)] if apart else [q, k, v]
    found = DotProductAttention([x.shape for x in given], num_heads=None if apart else 2)(*given, mask=mask)
    torch.testing.assert_close(found.transpose(1, 2).flatten(2) if apart else found, wanted, atol=1e-5, rtol=0)
    assert not found[1].any()


def test_queries_share_keys_in_order() -> None:
    q, k, v = torch.randn(2, 3, 8), torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    grouped = DotProductAttention([q.shape, k.shape, v.shape], num_heads=4)
    k4, v4 = (x.unflatten(2, (2, 2)).repeat_interleave(2, 2).flatten(2) for x in (k, v))
    whole = DotProductAttention([q.shape, k4.shape, v4.shape], num_heads=4)
    torch.testing.assert_close(grouped(q, k, v), whole(q, k4, v4))


@pytest.mark.parametrize(
    "name, args, shapes, message",
    [
        ("dot_product_attention", {"num_heads": 3}, [(2, 4, 8)] * 3, "8 features do not split into 3 heads"),
        ("dot_product_attention", {"num_heads": 4}, [(2, 4, 12)] + [(2, 4, 9)] * 2, "3 heads of keys do not divide 4"),
        ("dot_product_attention", {}, [(2, 4, 8), (2, 4, 8), (2, 5, 8)], "queries, keys and values are [.., N, d]"),
        ("dot_product_attention", {"dropout": 1.0}, [(2, 4, 8)] * 3, "dropout is 1.0"),
        ("distance_bias", {"buckets": 3}, [(2, 4, 8)], "3 buckets cannot tell distances up to 128"),
        ("selective_scan", {}, [(2, 4, 8), (2, 4, 8), (2, 4, 3), (2, 4, 2)], "b and c [B, N, S]"),
        ("selective_scan", {"least": 0.0}, [(2, 4, 8)] * 4, "need to be above 0"),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str, args: dict[str, object], shapes: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(Exception) as caught:
        make(lookup("op", name), args, shapes)
    assert message in str(caught.value)


def test_far_tokens_share_a_bucket_and_the_past_differs_from_the_future() -> None:
    op = make(lookup("op", "distance_bias"), {"num_heads": 1, "buckets": 8, "max_distance": 8}, [(2, 40, 4)])
    bias = op(torch.zeros(1, 40, 4))[0, 0]
    assert bias[0, 8] == bias[0, 39] and bias[39, 0] == bias[31, 0]
    assert bias[5, 6] != bias[6, 5] and bias[5, 6] == bias[20, 21] and bias[5, 6] != bias[5, 7]
    assert len(bias.unique()) == 7  # bucket 4 would be the future at distance 0


@given(st.integers(1, 9), st.integers(0, 99))
def test_both_ways_of_the_scan_give_the_same(length: int, seed: int) -> None:
    torch.manual_seed(seed)
    decay, written = torch.rand(2, length, 3, 4), torch.randn(2, length, 3, 4)
    torch.testing.assert_close(scanned(decay, written), stepped(decay, written), atol=1e-5, rtol=1e-5)


def test_a_scan_without_skip_is_the_recurrence() -> None:
    torch.manual_seed(0)
    x, dt, b, c = torch.randn(1, 5, 2), torch.randn(1, 5, 2), torch.randn(1, 5, 3), torch.randn(1, 5, 3)
    op = SelectiveScan([x.shape, dt.shape, b.shape, c.shape])
    steps, state = torch.nn.functional.softplus(dt + op.dt_bias), torch.zeros(2, 3)
    for i in range(5):
        state = torch.exp(-steps[0, i, :, None] * torch.tensor([1.0, 2.0, 3.0])) * state
        state = state + steps[0, i, :, None] * b[0, i] * x[0, i, :, None]
        torch.testing.assert_close(op(x, dt, b, c)[0, i], state @ c[0, i] + x[0, i], atol=1e-6, rtol=1e-5)


def test_steps_begin_between_their_bounds() -> None:
    op = SelectiveScan([(1, 2, 500)] * 2 + [(1, 2, 4)] * 2, least=0.01, most=0.2)
    steps = torch.nn.functional.softplus(op.dt_bias.detach())
    assert 0.0099 < float(steps.min()) < 0.012 and 0.18 < float(steps.max()) < 0.2001
