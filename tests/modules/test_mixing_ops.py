"""Token mixers against their definitions, position by position."""

from __future__ import annotations

import pytest
import torch


def neighbours(x, i, j, reach):
    return x[:, :, max(0, i - reach) : i + reach + 1, max(0, j - reach) : j + reach + 1]


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_pool_is_the_mean_of_what_is_there_less_the_input(run, kernel_size):
    x = torch.randn(2, 3, 4, 6)
    mean = torch.empty_like(x)
    for i in range(4):
        for j in range(6):
            mean[:, :, i, j] = neighbours(x, i, j, kernel_size // 2).mean((2, 3))
    torch.testing.assert_close(run("pool", x, kernel_size=kernel_size), mean - x)


@pytest.mark.parametrize("name", ["pool", "dwconv"])
@pytest.mark.parametrize("grid", [(4, 4), (2, 8), None])
def test_tokens_lie_on_the_grid_row_by_row(run, name, grid):
    tokens = torch.randn(2, 16, 3)
    h, w = grid or (4, 4)
    maps = tokens.reshape(2, h, w, 3).permute(0, 3, 1, 2)
    wanted = run(name, maps).permute(0, 2, 3, 1).reshape(2, 16, 3)
    torch.testing.assert_close(run(name, tokens, grid=grid), wanted)


def test_pool_along_a_sequence(run):
    x = torch.tensor([[[1.0], [2.0], [6.0]]])
    torch.testing.assert_close(run("pool", x, grid=(1, 3)), torch.tensor([[[0.5], [1.0], [-2.0]]]))


def test_dwconv_keeps_channels_apart_and_the_size(built):
    x = torch.randn(1, 4, 7, 7)
    conv = built("dwconv", x, kernel_size=5, dilation=2)
    changed = x.clone()
    changed[:, 2] += 1
    difference = (conv(changed) - conv(x)).abs().sum((0, 2, 3))
    assert conv(x).shape == x.shape
    assert difference.nonzero().flatten().tolist() == [2]


def test_token_mlp_mixes_tokens_and_not_features(run):
    x = torch.randn(1, 6, 4)
    changed = x.clone()
    changed[:, 3, 1] += 1
    difference = (run("token_mlp", changed) - run("token_mlp", x)).abs()[0]
    assert (difference[:, 1] > 0).all()
    assert not difference[:, [0, 2, 3]].any()


def test_token_mlp_of_maps_is_that_of_their_tokens(built):
    x = torch.randn(2, 8, 3, 5)
    mlp = built("token_mlp", x)
    tokens = x.flatten(2).transpose(1, 2)
    assert mlp.fc1.weight.shape == (4, 15)
    torch.testing.assert_close(mlp(x), mlp(tokens).transpose(1, 2).reshape(x.shape))
