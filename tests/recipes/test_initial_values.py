"""The shipped models begin as their papers' code does: the spread of every kind of weight, and what is zero."""

from __future__ import annotations

import fnmatch
import math

import pytest
import torch
from torch import Tensor

import assembler as asm

SIZES = {
    "gpt2": ("vars.vocab=500", "vars.context=64", "vars.tokens=16", "vars.dim=96", "vars.depth=3", "vars.heads=3"),
    "bert_base": ("vars.vocab=500", "vars.context=64", "vars.tokens=16", "vars.dim=96", "vars.depth=2", "vars.heads=3"),
    "vit_ti": ("vars.dim=96", "vars.depth=2", "vars.heads=3", "vars.size=64", "vars.classes=20"),
    "dit": ("vars.dim=96", "vars.depth=2", "vars.heads=3", "vars.size=8", "vars.classes=100"),
    "ddpm_unet": ("vars.width=32", "vars.groups=8", "vars.size=16", "vars.attend=8"),
}
CUT = 0.8796
"""The standard deviation of a standard normal distribution that is cut at two."""
SPREADS = [
    ("gpt2", "embed.weight", 0.02),
    ("gpt2", "position.weight", 0.02),
    ("gpt2", "block.*.attn.mix.qkv.weight", 0.02),
    ("gpt2", "block.*.attn.mix.proj.weight", 0.02 / math.sqrt(6)),
    ("gpt2", "block.*.mlp.up.weight", 0.02),
    ("gpt2", "block.*.mlp.down.weight", 0.02 / math.sqrt(6)),
    ("bert_base", "word.weight", 0.02 * CUT),
    ("bert_base", "block.*.attn.q.weight", 0.02 * CUT),
    ("bert_base", "block.*.mlp.down.weight", 0.02 * CUT),
    ("vit_ti", "position.weight", 0.02),
    ("vit_ti", "block.*.mix.token.*.weight", 0.02),
    ("vit_ti", "block.*.mlp.ffn.*.weight", 0.02),
    ("vit_ti", "head.weight", 0.02),
    ("dit", "named.weight", 0.02),
    ("dit", "time.fc?.weight", 0.02),
    ("dit", "layer.*.mix.attention.qkv.weight", math.sqrt(2 / (96 + 3 * 96))),
    ("dit", "layer.*.mix.attention.proj.weight", math.sqrt(2 / (96 + 96))),
    ("dit", "layer.*.mlp.fc1.weight", math.sqrt(2 / (96 + 4 * 96))),
    ("dit", "patches.weight", math.sqrt(2 / (4 * 4 + 96))),
    ("ddpm_unet", "*.time.fc1.weight", math.sqrt(2 / (32 + 128))),
    ("ddpm_unet", "*.embed.weight", math.sqrt(2 / (9 * 3 + 9 * 32))),
    ("ddpm_unet", "denoise.unet.level.down1.conv1.weight", math.sqrt(2 / (9 * 32 + 9 * 32))),
    ("ddpm_unet", "*.attend.mix.qkv.weight", math.sqrt(2 / (64 + 64))),
]
ZEROS = [
    ("gpt2", "block.*.bias"),
    ("bert_base", "*.bias"),
    ("vit_ti", "block.*.bias"),
    ("dit", "*.bias"),
    ("dit", "*ada.weight"),
    ("dit", "head.weight"),
    ("ddpm_unet", "*.conv?.bias"),
    ("ddpm_unet", "*.conv2.weight"),
    ("ddpm_unet", "*.mix.proj.weight"),
]


@pytest.fixture(scope="module")
def begun() -> dict[str, dict[str, Tensor]]:
    """The initial weights of each model in a small size."""
    return {name: dict(asm.build(name, *sizes).named_parameters()) for name, sizes in SIZES.items()}


def fitting(state: dict[str, Tensor], pattern: str) -> list[Tensor]:
    found = [tensor.detach() for name, tensor in state.items() if fnmatch.fnmatch(name, pattern)]
    assert found, f"no parameter is called {pattern}"
    return found


@pytest.mark.parametrize(("model", "pattern", "spread"), SPREADS)
def test_weights_are_spread_as_the_paper_draws_them(
    model: str, pattern: str, spread: float, begun: dict[str, dict[str, Tensor]]
) -> None:
    values = torch.cat([tensor.flatten() for tensor in fitting(begun[model], pattern)]).double()
    error = spread / math.sqrt(len(values))  # of the mean; the spread's own is no greater
    assert abs(float(values.mean())) < 4 * error
    assert abs(float(values.std()) - spread) < 4 * error


@pytest.mark.parametrize(("model", "pattern"), ZEROS)
def test_what_begins_at_zero(model: str, pattern: str, begun: dict[str, dict[str, Tensor]]) -> None:
    assert not any(tensor.any() for tensor in fitting(begun[model], pattern))


def test_berts_are_cut_at_two_standard_deviations(begun: dict[str, dict[str, Tensor]]) -> None:
    assert 0.039 < float(begun["bert_base"]["word.weight"].detach().abs().max()) <= 0.04
