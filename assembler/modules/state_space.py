"""Selective state spaces: a linear recurrence over tokens whose coefficients the tokens choose (Mamba)."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assembler.registry import Shapes, op


@op("selective_scan")
class SelectiveScan(nn.Module):
    """The selective state space of Mamba (Gu and Dao, 2023, arXiv 2312.00752, Alg. 2): x [B, N, D] -> [B, N, D].

    Each of the D channels has S states: h = exp(dt A) h + dt b x, y = c h + skip x, from h = 0. `dt` [B, N, D] are the
    steps before `dt_bias` is added and softplus taken; `b` and `c` [B, N, S] write and read the states. A is
    -exp(`a_log`), which begins as -1, ..., -S (S4D-real); the steps begin between `least` and `most`, log-uniform.
    The recurrence goes token by token, or, `parallel`, in log2(N) rounds over all tokens that need more memory.

    Raises ValueError where the inputs do not fit each other.
    """

    def __init__(
        self,
        shapes: Shapes,
        method: Literal["sequential", "parallel"] = "sequential",
        least: float = 0.001,
        most: float = 0.1,
    ) -> None:
        super().__init__()
        x, dt, b, c = (list(shape) for shape in shapes)
        if len(x) != 3 or dt != x or b != c or b[:-1] != x[:-1]:
            raise ValueError(f"x and dt are [B, N, D], b and c [B, N, S], got {x}, {dt}, {b} and {c}")
        if not 0 < least <= most:
            raise ValueError(f"steps begin between {least} and {most}, which need to be above 0 and in order")
        self.method, self.least, self.most = method, least, most
        self.a_log = nn.Parameter(torch.empty(x[2], b[2]))
        self.skip = nn.Parameter(torch.empty(x[2]))
        self.dt_bias = nn.Parameter(torch.empty(x[2]))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Give the states their rates 1 to S, and the steps a size between `least` and `most`."""
        channels, states = self.a_log.shape
        device = self.a_log.device
        self.a_log.copy_(torch.arange(1, states + 1, device=device).float().log().expand(channels, -1))
        self.skip.fill_(1.0)
        low, high = math.log(self.least), math.log(self.most)
        steps = torch.exp(torch.rand(channels, device=device) * (high - low) + low).clamp(min=1e-4)
        self.dt_bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # the inverse of softplus

    def forward(self, x: Tensor, dt: Tensor, b: Tensor, c: Tensor) -> Tensor:
        steps = F.softplus(dt + self.dt_bias)
        decay = torch.exp(steps[..., None] * -torch.exp(self.a_log))  # [B, N, D, S]
        written = steps[..., None] * b[:, :, None] * x[..., None]
        states = scanned(decay, written) if self.method == "parallel" else stepped(decay, written)
        return (states @ c[..., None].to(states.dtype)).squeeze(-1) + x * self.skip

    def extra_repr(self) -> str:
        return f"channels={self.a_log.shape[0]}, states={self.a_log.shape[1]}, method={self.method!r}"


def stepped(decay: Tensor, written: Tensor) -> Tensor:
    """All states of h = decay h + written along axis 1, one after another."""
    (_, *decays), (state, *others) = decay.unbind(1), written.unbind(1)
    states = [state]
    for factor, added in zip(decays, others, strict=True):
        state = factor * state + added
        states.append(state)
    return torch.stack(states, 1)


def scanned(decay: Tensor, written: Tensor) -> Tensor:
    """Like `stepped`, by doubling (Hillis and Steele, 1986): after round k each state sums up 2^k tokens."""
    reach = 1
    while reach < written.shape[1]:
        before = F.pad(written[:, :-reach], (0, 0, 0, 0, reach, 0))
        earlier = F.pad(decay[:, :-reach], (0, 0, 0, 0, reach, 0))
        decay, written, reach = decay * earlier, decay * before + written, 2 * reach
    return written
