"""What the smaller ops compute, against the sum written out."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F


def test_merges(run, built):
    a, b, c = torch.randn(3, 2, 4, 3, 3).unbind(0)
    assert torch.equal(run("add", a, b, c), a + b + c)
    assert torch.equal(run("mul", a, b), a * b)
    assert torch.equal(run("sub", a, b), a - b)
    assert torch.equal(run("concat", a, b), torch.cat([a, b], 1))
    assert torch.equal(run("concat", a, b, dim=-1), torch.cat([a, b], 3))
    torch.testing.assert_close(run("weighted_sum", a, b, c), (a + b + c) / 3)


def test_weighted_sum_follows_its_weights(built):
    a, b = torch.randn(2, 3, 4).unbind(0)
    op = built("weighted_sum", a, b)
    op.load_state_dict({"weight": torch.tensor([2.0, -1.0])})
    torch.testing.assert_close(op(a, b), 2 * a - b)
    assert torch.equal(built("weighted_sum", a, b, start="last")(a, b), b)
    assert torch.equal(built("weighted_sum", a, b, start="sum")(a, b), a + b)


def test_mlps(built):
    x = torch.randn(2, 5, 6)
    mlp = built("mlp", x, activation="relu", ratio=2.0)
    torch.testing.assert_close(mlp(x), mlp.fc2(mlp.fc1(x).relu()))
    gated = built("gated_mlp", x)
    torch.testing.assert_close(gated(x), gated.down(F.silu(gated.gate(x)) * gated.up(x)))
    assert gated.gate.weight.shape == (16, 6)


def test_conv_mlp_is_the_mlp_of_every_position(built):
    maps = torch.randn(2, 6, 3, 3)
    conv = built("conv_mlp", maps)
    mlp = built("mlp", maps.permute(0, 2, 3, 1))
    mlp.load_state_dict({k: v.flatten(1) if v.ndim == 4 else v for k, v in conv.state_dict().items()})
    torch.testing.assert_close(conv(maps), mlp(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), rtol=1e-4, atol=1e-5)


def test_layer_norm2d_normalises_every_position(run):
    x = 3 + 5 * torch.randn(2, 8, 3, 4)
    centred = x - x.mean(1, keepdim=True)
    wanted = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(run("layer_norm2d", x), wanted)


def test_patch_embed_reads_patches_row_by_row(built):
    x = torch.randn(1, 3, 4, 6)
    embed = built("patch_embed", x, patch_size=2)
    tokens = embed(x)
    corner = embed.proj.weight.flatten(1) @ x[0, :, 0:2, 2:4].flatten() + embed.proj.bias
    assert tokens.shape == (1, 6, 12)
    torch.testing.assert_close(tokens[0, 1], corner)


@pytest.mark.parametrize(("patch_size", "stride"), [(7, 4), (3, 2), (3, 1), (4, 4)])
def test_overlapping_patches_are_one_to_a_stride(run, patch_size, stride):
    tokens = run("patch_embed", torch.randn(1, 1, 16, 16), patch_size=patch_size, stride=stride, out=5)
    assert tokens.shape == (1, (16 // stride) ** 2, 5)


def test_maps_to_tokens_and_back(run):
    x = torch.randn(2, 5, 3, 4)
    tokens = run("map_to_tokens", x)
    assert torch.equal(tokens[:, 6], x[:, :, 1, 2])
    assert torch.equal(run("tokens_to_map", tokens, grid=(3, 4)), x)
    assert run("tokens_to_map", torch.randn(2, 9, 5)).shape == (2, 5, 3, 3)


def test_sincos_of_a_sequence(run):
    position = run("sincos_position", torch.zeros(1, 6, 8))[0]
    for n in range(6):
        for i in range(4):
            angle = n / 10000 ** (2 * i / 8)
            assert position[n, i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert position[n, 4 + i].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_sincos_of_a_grid_tells_row_and_column_apart(run):
    tokens = run("sincos_position", torch.zeros(1, 6, 8), grid=(2, 3))[0].reshape(2, 3, 8)
    assert torch.equal(tokens[0, :, :4], tokens[0, :1, :4].expand(3, 4))
    assert torch.equal(tokens[:, 1, 4:], tokens[:1, 1, 4:].expand(2, 4))
    assert torch.equal(run("sincos_position", torch.zeros(1, 8, 2, 3))[0], tokens.permute(2, 0, 1))
    assert len({tuple(row) for row in tokens.flatten(0, 1).tolist()}) == 6


def test_sincos_serves_any_length(built):
    longer = torch.zeros(1, 9, 8)
    op = built("sincos_position", longer[:, :6])
    assert op.state_dict() == {}
    assert torch.equal(op(longer)[:, :6], op(longer[:, :6]))
    assert torch.equal(op(longer), built("sincos_position", longer)(longer))


def test_class_token_and_token_pool(built, run):
    x = torch.randn(2, 4, 3)
    op = built("class_token", x)
    longer = op(x)
    assert torch.equal(longer[:, 1:], x)
    assert torch.equal(run("token_pool", longer, mode="first"), op.weight[0].expand(2, 3))
    torch.testing.assert_close(run("token_pool", x), x.sum(1) / 4)


def test_learned_position_is_one_tensor_for_every_sample(built):
    x = torch.randn(2, 4, 3)
    op = built("learned_position", x)
    torch.testing.assert_close((op(x) - x)[1], op.weight[0])
    assert 0.005 < op.weight.std() < 0.04


def test_drop_path_drops_whole_samples_and_keeps_the_mean(built):
    x = torch.ones(4000, 2, 2)
    y = built("drop_path", x, p=0.25).train()(x)
    kept = y.flatten(1)
    assert all(len(set(row)) == 1 for row in kept.tolist())
    assert kept.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert y.mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("shape", "axis", "where"), [((2, 3, 4, 5), None, 1), ((2, 3, 4), None, 2), ((2, 3, 4), 1, 1)])
def test_layer_scale_finds_the_channels(built, shape, axis, where):
    x = torch.ones(shape)
    op = built("layer_scale", x, axis=axis, init=0.1)
    torch.testing.assert_close(op(x), 0.1 * x)
    scale = torch.arange(float(shape[where]))
    op.load_state_dict({"weight": scale})
    last = op(x).movedim(where, -1)
    assert torch.equal(last, scale.expand_as(last))


def test_layouts(run):
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(run("reshape", x, shape=(12, -1)), x.reshape(2, 12, 5))
    assert torch.equal(run("reshape", x, shape=(60,)), x.flatten(1))
    assert torch.equal(run("transpose", x, dim0=1, dim1=-1), x.transpose(1, 3))
    assert torch.equal(run("permute", x, dims=(0, 2, 3, 1)), x.permute(0, 2, 3, 1))
    assert torch.equal(run("zero", x), x * 0)


def test_global_pools(run):
    maps, tokens = torch.randn(2, 3, 4, 5), torch.randn(2, 6, 3)
    torch.testing.assert_close(run("global_avg_pool", maps), maps.flatten(2).mean(2))
    torch.testing.assert_close(run("global_avg_pool", tokens), tokens.mean(1))
    assert torch.equal(run("global_max_pool", maps), maps.flatten(2).max(2).values)
    assert torch.equal(run("global_max_pool", tokens), tokens.max(1).values)
    assert torch.equal(run("global_max_pool", tokens, dim=2), tokens.max(2).values)


def test_conv_blocks(built):
    x = torch.randn(2, 8, 6, 6)
    block = built("conv_bn_act", x, out=4, groups=2)
    torch.testing.assert_close(block(x), F.relu(block.norm(block.conv(x))))
    assert built("conv_bn_act", x, activation=None)(x).min() < 0
    assert built("separable_conv", x, out=5, stride=2)(x).shape == (2, 5, 3, 3)
    squeeze = built("squeeze_excite", x)
    gate = squeeze(x) / x
    torch.testing.assert_close(gate, gate[:, :, :1, :1].expand_as(gate))


def test_efficient_channel_attention_gates_by_the_neighbours_among_the_channels(built):
    sizes = {8: 3, 64: 3, 128: 5, 1024: 5, 2048: 7}
    assert {c: built("efficient_channel_attention", torch.ones(1, c, 1, 1)).conv.weight.numel() for c in sizes} == sizes
    x = torch.randn(2, 8, 6, 6)
    block = built("efficient_channel_attention", x, kernel_size=5)
    row = F.pad(x.mean((2, 3)), (2, 2)).unfold(1, 5, 1)
    gate = torch.sigmoid(row @ block.conv.weight.flatten())
    torch.testing.assert_close(block(x), x * gate[:, :, None, None])


def test_inverted_residual_adds_its_input_where_the_shape_stays(built):
    x = torch.randn(2, 8, 6, 6)
    for args, added in (({}, x), ({"out": 5}, 0), ({"stride": 2}, 0)):
        block = built("inverted_residual", x, **args)
        torch.nn.init.zeros_(block.norm3.weight)
        assert torch.equal(block(x), torch.zeros_like(block(x)) + added)
