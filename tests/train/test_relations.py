"""Losses on how values lie to each other: relations of one sample's tokens, samples of one batch."""

from __future__ import annotations

import math

import pytest
import torch

from assembler.train.losses.contrastive import info_nce
from assembler.train.losses.relation import relation


def test_a_relation_with_itself_is_nothing() -> None:
    x = torch.randn(2, 5, 12)
    assert relation(x, x, heads=3).abs() < 1e-6


def test_a_relation_does_not_see_a_rotation_within_a_head() -> None:
    value, target = torch.randn(2, 5, 8).double(), torch.randn(2, 5, 12).double()
    turn = torch.linalg.qr(torch.randn(6, 6).double()).Q
    turned = (target.unflatten(2, (2, 6)) @ turn).flatten(2)
    torch.testing.assert_close(relation(value, turned, heads=2), relation(value, target, heads=2))
    assert not torch.isclose(relation(value, target.flip(2).roll(1, 2), heads=2), relation(value, target, heads=2))


def test_a_relation_is_the_divergence_written_out() -> None:
    value, target = torch.randn(1, 3, 4).double(), torch.randn(1, 3, 6).double()
    wanted = 0.0
    for head in range(2):
        s, t = value[0, :, 2 * head : 2 * head + 2], target[0, :, 3 * head : 3 * head + 3]
        p, q = (t @ t.T / math.sqrt(3)).softmax(1), (s @ s.T / math.sqrt(2)).softmax(1)
        wanted += float((p * (p / q).log()).sum()) / (2 * 3)
    assert math.isclose(float(relation(value, target, heads=2)), wanted, rel_tol=1e-9)


def test_only_the_student_has_a_gradient() -> None:
    value, target = (torch.randn(2, 3, 4, requires_grad=True) for _ in "ab")
    relation(value, target).backward()
    assert value.grad is not None and target.grad is None


def test_heads_have_to_divide_the_width() -> None:
    with pytest.raises(ValueError, match="channels a multiple of its 3 heads"):
        relation(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), heads=3)


def test_info_nce_tells_nothing_apart_at_log_n_and_pairs_at_0() -> None:
    same = torch.ones(6, 3)
    assert math.isclose(float(info_nce(same, same)), math.log(6), rel_tol=1e-6)
    apart = torch.eye(6)
    assert info_nce(apart, apart, temperature=0.01) < 1e-6


def test_info_nce_is_symmetric_only_if_asked_for() -> None:
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(info_nce(a, b), info_nce(b, a))
    both = (info_nce(a, b, symmetric=False) + info_nce(b, a, symmetric=False)) / 2
    torch.testing.assert_close(info_nce(a, b), both)
    assert not torch.isclose(info_nce(a, b, symmetric=False), info_nce(a, b))
    torch.testing.assert_close(info_nce(3 * a, b), info_nce(a, b))
