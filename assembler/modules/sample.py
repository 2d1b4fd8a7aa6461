"""Values drawn at random in training: noise, timesteps, the reparameterised Gaussian and the relaxed categorical.

All draw from torch's own generator, in the order of the shape: strides do not change what is drawn. In evaluation each
gives the one value that its docstring names.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Shapes, op


@op("gaussian_sample")
class GaussianSample(nn.Module):
    """A draw from N(mean, exp(log_variance)) by the reparameterisation trick (Kingma and Welling, 2014, eq. 10).

    Both inputs and the output have one shape, any [B, ...]; gradients reach both. In evaluation it is the mean.
    """

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        if len(set(shapes)) > 1:
            raise ValueError(f"mean and log variance need one shape, got {' and '.join(str(list(s)) for s in shapes)}")

    def forward(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        if not self.training:
            return mean
        return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean, memory_format=torch.contiguous_format)


@op("gaussian_kl")
def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(log_variance)) from N(0, 1), in nats (Kingma and Welling, 2014, appendix B).

    Two tensors [B, ...] of one shape give [B]: the divergences of a sample's dimensions are added.
    """
    each = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    return each.flatten(1).sum(1)


@op("gaussian_log_prob")
def gaussian_log_prob(x: Tensor, mean: Tensor | None = None, log_variance: Tensor | None = None) -> Tensor:
    """Log density of x under N(mean, exp(log_variance)) with independent dimensions, in nats: any [B, ...] -> [B].

    All are of one shape. Without a mean it is 0, without a log variance the variance is 1: by itself it is the density
    of the standard normal prior, with a mean that of a decoder of unit variance.
    """
    apart = (x if mean is None else x - mean).square()
    each = apart if log_variance is None else log_variance + apart * torch.exp(-log_variance)
    return -0.5 * (each + math.log(2 * math.pi)).flatten(1).sum(1)


@op("normal_noise")
class NormalNoise(nn.Module):
    """Standard normal noise in the shape of the input, which is not read further: [B, ...] -> [B, ...].

    In evaluation it is zero, the mean, unless it is to be noise `always`, as where a model samples. No gradient passes.
    """

    def __init__(self, always: bool = False) -> None:
        super().__init__()
        self.always = always

    def forward(self, x: Tensor) -> Tensor:
        return (
            torch.randn_like(x, memory_format=torch.contiguous_format)
            if self.training or self.always
            else torch.zeros_like(x)
        )


@op("random_step")
class RandomStep(nn.Module):
    """A whole number from 0 to `steps` - 1 for every sample, all equally likely: [B, ...] -> [B] of int64.

    The input gives the batch alone. In evaluation it is `steps` // 2. Raises ValueError where `steps` is below 1.
    """

    def __init__(self, steps: int = 1000) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps is {steps}, but it needs to be at least 1")
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x.new_full((x.shape[0],), self.steps // 2, dtype=torch.int64)
        return torch.randint(0, self.steps, (x.shape[0],), device=x.device)

    def extra_repr(self) -> str:
        return f"steps={self.steps}"


@op("random_replace")
class RandomReplace(nn.Module):
    """Each whole number becomes `value` with probability `p` in training; any int64 [B, ...] keeps its shape.

    Labels forgotten for classifier-free guidance (Ho and Salimans, 2022), or words masked. In evaluation it is the
    identity. Raises ValueError unless 0 <= p <= 1.
    """

    def __init__(self, p: float = 0.1, value: int = 0) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p is {p}, but it needs to be from 0 to 1")
        self.p, self.value = p, value

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x.masked_fill(
            torch.rand_like(x, dtype=torch.float32, memory_format=torch.contiguous_format) < self.p, self.value
        )

    def extra_repr(self) -> str:
        return f"p={self.p}, value={self.value}"


@op("random_choice")
class RandomChoice(nn.Module):
    """One of its inputs, all of one shape, drawn anew in every training step for the whole batch, all equally likely.

    In evaluation it is the last one. For instance a layer, or a width, that a step is trained at. Gradients reach the
    one that was drawn.
    """

    def forward(self, *inputs: Tensor) -> Tensor:
        if not self.training:
            return inputs[-1]
        drawn = torch.randint(len(inputs), (1,), device=inputs[0].device)
        return torch.stack(inputs).index_select(0, drawn).squeeze(0)


@op("gumbel_softmax")
class GumbelSoftmax(nn.Module):
    """A relaxed draw of one class of logits along `dim` (Jang et al., 2017, arXiv 1611.01144); the shape stays.

    `hard` gives one-hot values whose gradient is that of the relaxed ones. In evaluation no noise is added: the
    softmax at `temperature`, or the one-hot value of the likeliest class. Raises ValueError for a temperature of 0.
    """

    def __init__(self, temperature: float = 1.0, hard: bool = False, dim: int = -1) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}, but it needs to be more than 0")
        self.temperature, self.hard, self.dim = temperature, hard, dim

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return F.gumbel_softmax(x, self.temperature, self.hard, dim=self.dim)
        soft = (x / self.temperature).softmax(self.dim)
        if not self.hard:
            return soft
        likeliest = soft.argmax(self.dim, keepdim=True)
        one_hot = torch.zeros_like(soft).scatter(self.dim, likeliest, 1.0)
        return one_hot - soft.detach() + soft

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, hard={self.hard}, dim={self.dim}"
