"""Load, expand, verify and fingerprint a recipe of 10,000 steps against one of 1,000."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from assembler.graph import verify
from assembler.graph.build import build
from assembler.recipe.document import parse
from benchmarks.measure import Figure, ratios, spread

GOAL = 12.0


def recipe(steps: int) -> str:
    """A chain of residual blocks with `steps` steps in all, written out one by one."""
    lines = ["kind: model", "inputs: {x: [B, 16]}", "graph:"]
    for i in range(steps // 4):
        body = "{norm: layer_norm, fc: {op: linear, out: 16}, act: gelu}"
        lines.append(f"  block_{i}: {{op: residual, body: {body}}}")
    return "\n".join(lines) + "\n"


def figures(quick: bool) -> list[Figure]:
    """The ratio of the two times; linear would be 10."""
    values = ratios(_time(recipe(10_000)), _time(recipe(1_000)), 3 if quick else 9)
    value = statistics.median(values)
    return [Figure("10,000 steps / 1,000", value, f"<= {GOAL:g}", value <= GOAL, "1,000 steps", spread(values))]


def _time(text: str) -> Callable[[], float]:
    def run() -> float:
        start = time.process_time()
        graph = build(parse(text).model)
        verify(graph)
        assert graph.fingerprint
        return time.process_time() - start

    return run
