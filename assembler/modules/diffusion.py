"""Diffusion: what noise a step has, noise put on, one step of a sampler, the step as a vector, and modulation by it."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from assembler.registry import Shapes, op


@op("sinusoidal_embedding")
class SinusoidalEmbedding(nn.Module):
    """Sines and cosines of a number, such as a diffusion step: [B] -> [B, out] (Vaswani et al., 2017).

    Wave i of `out` / 2 has the rate period ** (-i / (out / 2)), or -i / (out / 2 - 1) with `endpoint`, as DDPM has it.
    Sines come first, or with `cosines_first` cosines, as in DiT. They are computed in float32 at least and are of the
    model's own dtype. Raises ValueError for an odd `out` or one below 4.
    """

    like: Tensor

    def __init__(
        self, out: int = 128, period: float = 10000.0, endpoint: bool = False, cosines_first: bool = False
    ) -> None:
        super().__init__()
        if out < 4 or out % 2:
            raise ValueError(f"out is {out}, but halves of sines and cosines need an even number from 4 on")
        self.out, self.period, self.endpoint, self.cosines_first = out, period, endpoint, cosines_first
        self.register_buffer("like", torch.empty(0), persistent=False)  # `.to(dtype)` reaches it

    def forward(self, t: Tensor) -> Tensor:
        half, exact = self.out // 2, torch.promote_types(self.like.dtype, torch.float32)
        steps = torch.arange(half, device=t.device, dtype=exact)
        angles = t.to(exact)[:, None] * torch.exp(steps * (-math.log(self.period) / (half - self.endpoint)))
        waves = (angles.cos(), angles.sin()) if self.cosines_first else (angles.sin(), angles.cos())
        return torch.cat(waves, 1).to(self.like.dtype)

    def extra_repr(self) -> str:
        return f"{self.out}, period={self.period}, endpoint={self.endpoint}, cosines_first={self.cosines_first}"


@op("noise_schedule", outputs=("alpha", "sigma"))
class NoiseSchedule(nn.Module):
    """The shares of signal and noise at diffusion step `t`, with alpha**2 + sigma**2 = 1: [B] of int64 -> [B] and [B].

    `linear` is DDPM's: betas evenly from `first` to `last` over `steps` (Ho et al., 2020, section 4). `cosine` is that
    of Nichol and Dhariwal (2021, arXiv 2102.09672, eq. 17), and reads neither. Steps count from 0; -1 is the clean
    sample, alpha 1 and sigma 0. Raises ValueError where a beta is not between 0 and 1.
    """

    alpha: Tensor
    sigma: Tensor

    def __init__(
        self,
        steps: int = 1000,
        kind: Literal["linear", "cosine"] = "linear",
        first: float = 1e-4,
        last: float = 0.02,
    ) -> None:
        super().__init__()
        if steps < 1 or not (0 < first < 1 and 0 < last < 1):
            raise ValueError(f"steps is at least 1 and betas lie between 0 and 1, got {steps}, {first} and {last}")
        self.steps, self.kind, self.first, self.last = steps, kind, first, last
        self.register_buffer("alpha", torch.empty(steps + 1), persistent=False)
        self.register_buffer("sigma", torch.empty(steps + 1), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill in the shares, for instance after the module has left the meta device."""
        device, exact = self.alpha.device, torch.float64
        if self.kind == "linear":
            betas = torch.linspace(self.first, self.last, self.steps, dtype=exact, device=device)
        else:
            times = torch.arange(self.steps + 1, dtype=exact, device=device) / self.steps
            signal = torch.cos((times + 0.008) / 1.008 * math.pi / 2).square()
            betas = (1 - signal[1:] / signal[:-1]).clamp(max=0.999)
        kept = torch.cat([betas.new_ones(1), (1 - betas).cumprod(0)])  # [steps + 1], the first for the clean sample
        self.alpha, self.sigma = kept.sqrt().to(self.alpha.dtype), (1 - kept).sqrt().to(self.sigma.dtype)

    def forward(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.alpha[t + 1], self.sigma[t + 1]

    def extra_repr(self) -> str:
        return f"{self.steps}, kind={self.kind!r}, first={self.first}, last={self.last}"


@op("add_noise")
def add_noise(x: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor, *, shapes: Shapes) -> Tensor:
    """Noise put on, alpha x + sigma noise (Ho et al., 2020, eq. 4): x and noise [B, ...], `alpha` and `sigma` [B].

    Raises ValueError where x and the noise differ in shape.
    """
    if shapes[0] != shapes[1]:
        raise ValueError(f"x and noise need one shape, got {list(shapes[0])} and {list(shapes[1])}")
    spread = [-1] + [1] * (len(shapes[0]) - 1)
    return alpha.reshape(spread) * x + sigma.reshape(spread) * noise


@op("ddim_step")
def ddim_step(
    x: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor, next_alpha: Tensor, next_sigma: Tensor, *, shapes: Shapes
) -> Tensor:
    """From the noisy x and the noise seen in it to the same sample with less noise (Song et al., 2021, eq. 12, eta 0).

    x and `noise` are [B, ...]; `alpha` and `sigma` [B] are the shares now, `next_alpha` and `next_sigma` those after
    it; 1 and 0 give the predicted clean sample. Raises ValueError where x and the noise differ in shape.
    """
    if shapes[0] != shapes[1]:
        raise ValueError(f"x and noise need one shape, got {list(shapes[0])} and {list(shapes[1])}")
    spread = [-1] + [1] * (len(shapes[0]) - 1)
    clean = (x - sigma.reshape(spread) * noise) / alpha.reshape(spread)
    return next_alpha.reshape(spread) * clean + next_sigma.reshape(spread) * noise


@op("sampling_step", outputs=("now", "next"))
def sampling_step(x: Tensor, index: Tensor, *, count: int = 50, steps: int = 1000) -> tuple[Tensor, Tensor]:
    """The diffusion steps that sampling step `index` of `count` goes from and to, for every sample: [B] of int64 each.

    They are spaced evenly from `steps` - 1 down to -1, the clean sample ("trailing", Lin et al., 2024, arXiv
    2305.08891). x [B, ...] gives the batch alone; `index` is a whole number or one for each sample.
    """
    now = (count - index) * steps // count - 1
    following = (count - index - 1) * steps // count - 1
    return now.expand(x.shape[0]), following.expand(x.shape[0])


@op("modulate")
def modulate(x: Tensor, shift: Tensor, scale: Tensor, *, shapes: Shapes) -> Tensor:
    """Features scaled and shifted for each sample, or place, x (1 + scale) + shift: FiLM, DiT's adaptive layer norm.

    x is tokens [B, N, D] or any [B, ..., D], or maps [B, C, H, W]; `shift` and `scale` are [B, D] or [B, C], or of
    as many axes as x: for every place their own (SPADE, FlowAR's spatial adaLN).
    Raises ValueError where x has no axis after the batch.
    """
    shape, *others = shapes
    if len(shape) < 2:
        raise ValueError(f"modulate needs features after the batch, got {list(shape)}")
    if all(len(one) == len(shape) for one in others):
        return x * (1 + scale) + shift
    places = [1, 1] if len(shape) == 4 else []
    spread = [-1, *[1] * (len(shape) - 2 - len(places)), shape[1 if places else -1], *places]
    return x * (1 + scale.reshape(spread)) + shift.reshape(spread)
