"""Objectives that worker processes import: good ones, and ones with every mistake that there is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from assembler.compile.model import Compiled

RECIPE = """
kind: model
name: faults
inputs: {x: [B, 4]}
graph:
  a: {op: linear, out: {$int: [1, 12]}}
  b: {op: linear, out: 2}
"""


def size(model: Compiled) -> float:
    """The number of parameters."""
    return float(sum(p.numel() for p in model.parameters()))


def rising(model: Compiled) -> Iterator[float]:
    """The width of the first layer, times each step of four."""
    for step in range(1, 5):
        yield float(width(model) * step)


def faults(model: Compiled) -> float:
    """By the width of the first layer: raises, hangs, returns NaN or words, dies, or is well."""
    match width(model):
        case 1:
            raise ValueError("one is too few")
        case 2:
            time.sleep(1000)
        case 3:
            return float("nan")
        case 4:
            os._exit(7)
        case 5:
            return "five"  # type: ignore[return-value]
        case 6:
            raise MemoryError("out of memory")
    return size(model)


def width(model: Compiled) -> int:
    """The width of the first layer."""
    return int(next(iter(model.parameters())).shape[0])
