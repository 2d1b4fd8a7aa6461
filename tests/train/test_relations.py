"""Losses on how values lie to each other: relations of one sample's tokens, samples of one batch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from assembler.train.losses.contrastive import info_nce
from assembler.train.losses.relation import cka, relation


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


def test_info_nce_of_the_mean_over_negatives_does_not_grow_with_the_batch() -> None:
    for count in (2, 3, 30):
        same = torch.ones(count, 4)
        assert math.isclose(float(info_nce(same, same, negatives="mean")), math.log(2), rel_tol=1e-6)
    a, b = torch.randn(5, 8, dtype=torch.float64), torch.randn(5, 8, dtype=torch.float64)
    scores = (functional.normalize(a, dim=1) @ functional.normalize(b, dim=1).T / 0.5).exp()
    others = (scores.sum(1) - scores.diagonal()) / 4
    wanted = -(scores.diagonal() / (scores.diagonal() + others)).log().mean()
    torch.testing.assert_close(info_nce(a, b, 0.5, symmetric=False, negatives="mean"), wanted)
    assert info_nce(a[:1], b[:1], negatives="mean") == 0


def test_info_nce_is_symmetric_only_if_asked_for() -> None:
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(info_nce(a, b), info_nce(b, a))
    both = (info_nce(a, b, symmetric=False) + info_nce(b, a, symmetric=False)) / 2
    torch.testing.assert_close(info_nce(a, b), both)
    assert not torch.isclose(info_nce(a, b, symmetric=False), info_nce(a, b))
    torch.testing.assert_close(info_nce(3 * a, b), info_nce(a, b))


def paper_cka(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Linear CKA of rows as Kornblith et al. (2019) write it, of features."""
    x, y = x - x.mean(0), y - y.mean(0)
    return (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())


def rotation(size: int, seed: int) -> torch.Tensor:
    return torch.linalg.qr(draw(size, size, seed=seed))[0]


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(
    samples=st.integers(3, 20), widths=st.tuples(st.integers(1, 9), st.integers(1, 9)), scale=st.floats(-1e3, 1e3),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_cka_is_the_papers_and_sees_no_rotation_scale_or_shift(
    samples: int, widths: tuple[int, int], scale: float, seed: int
) -> None:
    x, y = (draw(samples, width, seed=seed + n) for n, width in enumerate(widths))
    found = cka(x, y)
    assert torch.allclose(found, 1 - paper_cka(x, y), atol=1e-9)
    assert torch.allclose(found, cka(y, x), atol=1e-9) and -1e-9 <= found <= 1
    if abs(scale) > 1e-3:
        moved = scale * x @ rotation(widths[0], seed) + draw(1, widths[0], seed=seed + 2)
        assert torch.allclose(cka(moved, y), found, atol=1e-7) and cka(moved, x) < 1e-7


def test_cka_sees_other_linear_maps() -> None:
    x = draw(50, 4, seed=0)
    assert cka(x * torch.tensor([9.0, 1.0, 1.0, 1.0]), x) > 0.1


def test_cka_takes_maps_and_tokens_and_what_is_always_the_same() -> None:
    maps = draw(20, 3, 4, 5, seed=0)
    assert cka(maps, maps.flatten(2).transpose(1, 2)) < 1e-9
    assert cka(torch.ones(20, 7, dtype=torch.float64), maps) == 1


def test_cka_teaches_the_value_alone() -> None:
    value, target = (draw(12, 4, seed=n).requires_grad_() for n in range(2))
    cka(value, target).backward()
    assert value.grad is not None and value.grad.abs().sum() > 0 and target.grad is None
