"""Load, expand, verify and fingerprint a recipe of 10,000 steps against one of 1,000."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

from assembler.graph.verify import verify
from assembler.recipe.document import parse
from assembler.wiring.build import build
from benchmarks.measure import Figure, ratios, spread

GOAL = 12.0


def recipe(steps: int, width: int = 16) -> str:
    """A chain of residual blocks with `steps` steps in all, written out one by one."""
    lines = ["kind: model", f"inputs: {{x: [B, {width}]}}", "graph:"]
    for i in range(steps // 4):
        body = f"{{norm: layer_norm, fc: {{op: linear, out: {width}}}, act: gelu}}"
        lines.append(f"  block_{i}: {{op: residual, body: {body}}}")
    return "\n".join(lines) + "\n"


def figures(quick: bool) -> list[Figure]:
    """The ratio of the two times (CPU seconds of one process); linear would be 10."""
    small, large = [], []
    ours, peer = _time(10_000, large), _time(1_000, small)
    ours(), peer()  # ops are found and read once in a process
    del small[:], large[:]
    values = ratios(ours, peer, 5 if quick else 31)
    value = statistics.median(values)
    each = f"1,000 steps, {1e3 * statistics.median(small):.0f} ms; 10,000 take {1e3 * statistics.median(large):.0f} ms"
    return [Figure("10,000 steps / 1,000", value, f"<= {GOAL:g}", value <= GOAL, each, spread(values))]


def _time(steps: int, seen: list[float]) -> Callable[[], float]:
    widths = itertools.count(16)  # a new recipe each time: a graph's fingerprint is kept, and equal graphs share it

    def run() -> float:
        text = recipe(steps, next(widths))
        start = time.process_time()
        graph = build(parse(text).model)
        verify(graph)
        assert graph.fingerprint
        seen.append(time.process_time() - start)
        return seen[-1]

    return run
