"""Attention against the softmax written out."""

from __future__ import annotations

import math

import pytest
import torch


def reference(q, k, v, heads, causal=False):
    """softmax(QK'/sqrt(d))V, head by head, for [B, N, heads * d]."""
    outs = []
    for qh, kh, vh in zip(q.chunk(heads, 2), k.chunk(heads, 2), v.chunk(heads, 2), strict=True):
        scores = qh @ kh.transpose(1, 2) / math.sqrt(qh.shape[2])
        if causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -math.inf)
        outs.append(scores.softmax(2) @ vh)
    return torch.cat(outs, 2)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("heads", "head_dim"), [(1, None), (4, None), (3, 5)])
def test_is_softmax_attention(built, heads, head_dim, causal):
    x = torch.randn(2, 9, 12)
    attention = built("attention", x, num_heads=heads, head_dim=head_dim, causal=causal)
    q, k, v = attention.qkv(x).chunk(3, 2)
    torch.testing.assert_close(attention(x), attention.proj(reference(q, k, v, heads, causal)))


def test_cross_attention_reads_kv(built):
    x, kv = torch.randn(2, 9, 12), torch.randn(2, 5, 7)
    attention = built("attention", x, kv, num_heads=2, out=3)
    k, v = attention.kv(kv).chunk(2, 2)
    wanted = attention.proj(reference(attention.q(x), k, v, 2))
    torch.testing.assert_close(attention(x, kv=kv), wanted)


def test_maps_are_tokens_row_by_row(built):
    x, kv = torch.randn(2, 8, 3, 5), torch.randn(2, 6, 2, 2)
    attention = built("attention", x, kv, out=4)
    tokens, context = x.flatten(2).transpose(1, 2), kv.flatten(2).transpose(1, 2)
    wanted = attention(tokens, context).transpose(1, 2).reshape(2, 4, 3, 5)
    torch.testing.assert_close(attention(x, kv), wanted)


def test_causal_tokens_do_not_see_what_follows(run):
    x = torch.randn(1, 6, 8)
    changed = torch.cat([x[:, :4], torch.randn(1, 2, 8)], 1)
    before, after = run("attention", x, causal=True), run("attention", changed, causal=True)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_dropout_acts_in_training_alone(built):
    x = torch.randn(2, 9, 8)
    attention = built("attention", x, dropout=0.5)
    assert not torch.equal(attention.train()(x), attention.eval()(x))


def test_no_bias_in_the_projections(built):
    attention = built("attention", torch.randn(2, 9, 8), qkv_bias=False)
    assert set(attention.state_dict()) == {"qkv.weight", "proj.weight", "proj.bias"}
