"""The ops of sampling, quantisation, diffusion and masking keep the contract, in each of their layouts."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from assembler.testing import OpContract

MAPS = ((3, 8, 4, 6),)
TOKENS = ((3, 16, 8),)
STEPS = torch.tensor([0, 999, 417, 3, 20])


class TestGaussianSample(OpContract):
    name = "gaussian_sample"
    shapes = TOKENS * 2


class TestGaussianKl(OpContract):
    name = "gaussian_kl"
    shapes = MAPS * 2


class TestGaussianLogProb(OpContract):
    name = "gaussian_log_prob"
    shapes = MAPS * 3


class TestStandardLogProb(OpContract):
    name = "gaussian_log_prob"
    shapes = TOKENS


class TestNormalNoise(OpContract):
    name = "normal_noise"
    shapes = MAPS
    passes_gradient = False


class TestRandomStep(OpContract):
    name = "random_step"
    args: ClassVar = {"steps": 20}
    shapes = MAPS
    passes_gradient = False


class TestRandomReplace(OpContract):
    name = "random_replace"
    shapes = TOKENS
    dtype = torch.int64


class TestRandomChoice(OpContract):
    name = "random_choice"
    shapes = TOKENS


class TestGumbelSoftmax(OpContract):
    name = "gumbel_softmax"
    args: ClassVar = {"temperature": 0.5}
    shapes = TOKENS


class TestHardGumbelSoftmax(OpContract):
    name = "gumbel_softmax"
    args: ClassVar = {"hard": True, "dim": 1}
    shapes = MAPS


class TestVectorQuantizeOfMaps(OpContract):
    name = "vector_quantize"
    args: ClassVar = {"num_codes": 5}
    shapes = MAPS


class TestVectorQuantizeOfTokens(OpContract):
    name = "vector_quantize"
    args: ClassVar = {"num_codes": 5, "update": "ema", "decay": 0.9}
    shapes = TOKENS


class TestFsqOfMaps(OpContract):
    name = "fsq"
    args: ClassVar = {"levels": (8, 5)}
    shapes = ((3, 2, 4, 6),)


class TestFsqOfTokens(OpContract):
    name = "fsq"
    args: ClassVar = {"levels": (2, 3, 7)}
    shapes = ((3, 16, 3),)


class TestBinaryQuantizeOfMaps(OpContract):
    name = "binary_quantize"
    shapes = MAPS


class TestBinaryQuantizeOfTokens(OpContract):
    name = "binary_quantize"
    shapes = TOKENS


class TestSinusoidalEmbedding(OpContract):
    name = "sinusoidal_embedding"
    args: ClassVar = {"out": 8, "endpoint": True}
    shapes = ((3,),)
    dtype = torch.int64

    def inputs(self, batch: int = 3) -> list[Tensor]:
        return [STEPS[:batch]]


class TestNoiseSchedule(OpContract):
    name = "noise_schedule"
    shapes = ((3,),)
    dtype = torch.int64

    def inputs(self, batch: int = 3) -> list[Tensor]:
        return [STEPS[:batch]]


class TestCosineNoiseSchedule(OpContract):
    name = "noise_schedule"
    args: ClassVar = {"kind": "cosine"}
    shapes = ((3,),)
    dtype = torch.int64

    def inputs(self, batch: int = 3) -> list[Tensor]:
        return [STEPS[:batch]]


class TestAddNoise(OpContract):
    name = "add_noise"
    shapes = (*MAPS, *MAPS, (3,), (3,))


class TestDdimStep(OpContract):
    name = "ddim_step"
    shapes = (*MAPS, *MAPS, (3,), (3,), (3,), (3,))


class TestSamplingStep(OpContract):
    name = "sampling_step"
    args: ClassVar = {"count": 7}
    shapes = (*MAPS, (3,))
    passes_gradient = False

    def inputs(self, batch: int = 3) -> list[Tensor]:
        return [torch.zeros(batch, *self.shapes[0][1:]), torch.arange(batch)]


class TestModulateOfTokens(OpContract):
    name = "modulate"
    shapes = (*TOKENS, (3, 8), (3, 8))


class TestModulateOfMaps(OpContract):
    name = "modulate"
    shapes = (*MAPS, (3, 8), (3, 8))


class TestRandomMask(OpContract):
    name = "random_mask"
    args: ClassVar = {"ratio": 0.6}
    shapes = TOKENS


class TestRandomMaskByNoise(OpContract):
    name = "random_mask"
    shapes = (*TOKENS, (3, 16))
    passes_gradient = False  # not to the noise


class TestUnmask(OpContract):
    name = "unmask"
    args: ClassVar = {"length": 16}
    shapes = ((3, 5, 8), (3, 5), (3, 1, 8))
    passes_gradient = False  # not to the places

    def inputs(self, batch: int = 3) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        tokens, fill = (torch.randn(batch, n, 8, generator=generator) for n in (5, 1))
        return [tokens, torch.arange(0, 15, 3).expand(batch, -1), fill]


class TestZeroLinear(OpContract):
    name = "zero_linear"
    shapes = TOKENS
    passes_gradient = False  # as long as the weights are zero


class TestLowRankLinear(OpContract):
    name = "low_rank_linear"
    args: ClassVar = {"out": 6, "rank": 2}
    shapes = TOKENS

    def build(self, seed: int = 0, device: str = "cpu") -> nn.Module:
        return _drawn(super().build(seed, device))


class TestKroneckerLinear(OpContract):
    name = "kronecker_linear"
    args: ClassVar = {"out": 6, "factor": [2, 4]}
    shapes = TOKENS

    def build(self, seed: int = 0, device: str = "cpu") -> nn.Module:
        return _drawn(super().build(seed, device))


def _drawn(module: nn.Module) -> nn.Module:
    """The layer with another B than zero, with which no gradient reaches A."""
    module.b.data.copy_(torch.linspace(-1, 1, module.b.numel()).reshape(module.b.shape))
    return module


class TestZeroConv2d(OpContract):
    name = "zero_conv2d"
    args: ClassVar = {"out": 6, "kernel_size": 3}
    shapes = MAPS
    passes_gradient = False  # as long as the weights are zero
