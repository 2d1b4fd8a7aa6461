"""Attention inside windows, against what it means written out place by place."""

from __future__ import annotations

import itertools

import pytest
import torch

from assembler.errors import RecipeError, ShapeError


def test_bias_belongs_to_the_offset_of_two_places(built):
    op = built("relative_position_bias", torch.zeros(2, 6, 8), num_heads=2, grid=(2, 3))
    bias = op(torch.zeros(5, 6, 8))
    assert bias.shape == (1, 2, 6, 6)
    places = list(itertools.product(range(2), range(3)))
    for (i, a), (j, b) in itertools.product(enumerate(places), repeat=2):
        row = (a[0] - b[0] + 1) * 5 + a[1] - b[1] + 2
        assert torch.equal(bias[0, :, i, j], op.weight[row])


@pytest.mark.parametrize(("shift", "window", "grid"), [(1, 2, (4, 6)), (2, 3, (6, 3))])
def test_places_brought_together_by_the_roll_do_not_see_each_other(built, shift, window, grid):
    (h, w), inside = grid, range(window)
    op = built("shifted_window_mask", torch.zeros(1, 1, window**2, window**2), grid=grid, window=window, shift=shift)
    mask = op(torch.zeros(1, 1, window**2, window**2))
    corners = itertools.product(range(0, h, window), range(0, w, window))
    for k, (top, left) in enumerate(corners):
        origins = [(top + r + shift, left + c + shift) for r in inside for c in inside]  # before the roll by -shift
        wraps = [(y >= h, x >= w) for y, x in origins]
        wanted = [[0.0 if a == b else -100.0 for b in wraps] for a in wraps]
        assert mask[0, k, 0].tolist() == wanted


def test_without_a_shift_nothing_is_added(built):
    bias = torch.randn(1, 3, 4, 4)
    op = built("shifted_window_mask", bias, grid=(4, 4), window=2, shift=0)
    assert torch.equal(op(bias), bias[:, None])


def test_refuses_windows_that_do_not_fit(built):
    bias = torch.zeros(1, 1, 9, 9)
    with pytest.raises(RecipeError, match="a map of 4 x 6 is no whole number of windows of 3 x 3"):
        built("shifted_window_mask", bias, grid=(4, 6), window=3, shift=1)
    with pytest.raises(RecipeError, match="shift is 3, but it needs to be from 0 to 2, less than the window"):
        built("shifted_window_mask", bias, grid=(6, 6), window=3, shift=3)


def reference(q, k, v, bias=0.0):
    """softmax(QK'/sqrt(d) + bias)V."""
    return ((q @ k.mT) / q.shape[-1] ** 0.5 + bias).softmax(-1) @ v


def test_attention_adds_its_bias_to_windows_of_heads(run):
    q, k, v = torch.randn(2, 3, 2, 6, 4), torch.randn(2, 3, 2, 5, 4), torch.randn(2, 3, 2, 5, 7)
    bias = torch.randn(1, 3, 2, 6, 5)
    torch.testing.assert_close(run("dot_product_attention", q, k, v, bias), reference(q, k, v, bias))


def test_a_bool_bias_says_what_is_seen(run):
    q, k, v = torch.randn(3, 2, 2, 5, 4)
    seen = torch.eye(5, dtype=torch.bool)
    torch.testing.assert_close(run("dot_product_attention", q, k, v, seen), v)


@pytest.mark.parametrize("biased", [False, True])
def test_the_last_query_sees_all_keys(run, biased):
    q, (k, v) = torch.randn(2, 2, 3, 4), torch.randn(2, 2, 2, 5, 4)
    bias = [torch.randn(1, 2, 3, 5)] if biased else []
    past = torch.ones(3, 5).tril(2).log() + sum(bias)
    torch.testing.assert_close(run("dot_product_attention", q, k, v, *bias, causal=True), reference(q, k, v, past))


def test_query_heads_share_keys(run):
    q, k = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8)
    twice = k.repeat_interleave(2, 1)
    torch.testing.assert_close(run("dot_product_attention", q, k, k), reference(q, twice, twice))


def test_heads_may_lie_in_the_features(run):
    q, k, v = torch.randn(2, 3, 6, 8), torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 6)
    apart = [x.unflatten(-1, (n, -1)).transpose(-3, -2) for x, n in ((q, 4), (k, 2), (v, 2))]
    together = run("dot_product_attention", q, k, v, num_heads=4)
    wanted = run("dot_product_attention", *apart).transpose(-3, -2).flatten(-2)
    assert together.shape == (2, 3, 6, 12)
    torch.testing.assert_close(together, wanted)


def test_refuses_what_does_not_fit(built):
    q, k = torch.zeros(2, 4, 5, 8), torch.zeros(2, 3, 5, 8)
    with pytest.raises(ShapeError, match="3 heads of keys do not divide 4 heads of queries"):
        built("dot_product_attention", q, k, k)
    with pytest.raises(ShapeError, match="8 features do not split into 3 heads"):
        built("dot_product_attention", q, q, q, num_heads=3)
    with pytest.raises(ShapeError, match="queries, keys and values are"):
        built("dot_product_attention", q, torch.zeros(2, 4, 5, 7), q)
