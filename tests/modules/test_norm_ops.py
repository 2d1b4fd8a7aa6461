"""Norms of tokens, values that fade into others and averages that follow values while a model is trained."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn

from assembler.testing import OpContract


class TestTokenBatchNorm(OpContract):
    name = "token_batch_norm"
    args: ClassVar = {"skip": True}
    shapes = ((3, 5, 4),)


class TestFade(OpContract):
    name = "fade"
    args: ClassVar = {"steps": 4}
    shapes = ((3, 5, 4), (3, 5, 4))

    def build(self, seed: int = 0, device: str = "cpu") -> nn.Module:
        """The op when training has come to a quarter."""
        made = super().build(seed, device)
        made.count += 1
        return made


def test_token_batch_norm_is_torchs_along_the_last_axis(built):
    x = torch.randn(6, 5, 4)
    norm, own = nn.BatchNorm1d(4), built("token_batch_norm", x)
    for mode in (True, False):
        wanted = norm.train(mode)(x.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(own.train(mode)(x), wanted)
    torch.testing.assert_close(own.running_var, norm.running_var)


def test_its_skip_adds_the_input_and_is_learned(built):
    x = torch.randn(6, 5, 4)
    plain, own = built("token_batch_norm", x), built("token_batch_norm", x, skip=True)
    assert dict(own.named_parameters())["skip"] == 1
    own.skip.data.fill_(0.3)
    torch.testing.assert_close(own(x), plain(x) + 0.3 * x)


def test_fade_goes_over_step_by_step_of_training_and_evaluation_shows_where_it_is(built):
    old, new = torch.zeros(2, 3), torch.ones(2, 3)
    fade = built("fade", old, new, steps=4)
    seen = []
    for _ in range(6):
        before = float(fade.eval()(old, new)[0, 0])
        assert float(fade(old, new)[0, 0]) == before  # evaluation does not count
        seen.append(float(fade.train()(old, new)[0, 0]))
        assert seen[-1] == before
    assert seen == [0, 0.25, 0.5, 0.75, 1, 1]
    assert int(fade.state_dict()["count"]) == 6


def test_fade_refuses_two_shapes_and_a_negative_number_of_steps(built):
    with pytest.raises(Exception, match=r"old and new need one shape, got \[2, 3\] and \[2, 4\]"):
        built("fade", torch.zeros(2, 3), torch.zeros(2, 4), steps=4)
    with pytest.raises(Exception, match="steps is -1, but it needs to be at least 0"):
        built("fade", torch.zeros(2, 3), torch.zeros(2, 3), steps=-1)


class TestRunningMean(OpContract):
    name = "running_mean"
    args: ClassVar = {"decay": 0.9}
    shapes = ((3, 5, 4),)
    passes_gradient = False

    def build(self, seed: int = 0, device: str = "cpu") -> nn.Module:
        """The op after a step of training."""
        made = super().build(seed, device)
        made.mean += torch.linspace(-1, 1, 4, device=device)
        made.count += 1
        return made


def test_a_running_mean_is_a_plain_one_at_first_and_then_a_moving_average(built):
    xs = [torch.randn(2, 3, 4, requires_grad=True) for _ in range(4)]
    own, means = built("running_mean", xs[0], decay=0.6), [x.detach().mean((0, 1))[None] for x in xs]
    assert not own.eval()(xs[0]).any()
    said = [own.train()(x) for x in xs]
    assert not any(one.requires_grad for one in said)
    torch.testing.assert_close(said[0], means[0])
    torch.testing.assert_close(said[1], (means[0] + means[1]) / 2)
    for before, mean, after in zip(said[1:], means[2:], said[2:], strict=False):
        torch.testing.assert_close(after, 0.6 * before + 0.4 * mean)
    torch.testing.assert_close(own.eval()(xs[0]), said[-1])
    assert own.state_dict()["mean"].shape == (4,) and int(own.state_dict()["count"]) == 4


def test_a_running_mean_refuses_a_decay_that_is_no_share(built):
    with pytest.raises(Exception, match=r"decay is 1.5, but it needs to be from 0 to 1"):
        built("running_mean", torch.zeros(2, 3), decay=1.5)
