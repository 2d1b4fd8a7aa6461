"""How the learning rate moves over a training run: a share of its peak, for every step."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant"]


def factor(schedule: Schedule, step: int, total: int, warmup: float = 0.0) -> float:
    """The share of the peak rate to use in step `step` of `total`, counted from 0.

    Over the first `warmup` (a share of `total`) it climbs in a line, then falls to 0 along half a cosine
    (Loshchilov and Hutter 2017, without restarts), in a line, or not at all.
    """
    climb = round(warmup * total)
    if step < climb:
        return (step + 1) / (climb + 1)
    done = (step - climb) / max(1, total - climb)
    match schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        case "linear":
            return 1 - done
        case "constant":
            return 1.0
