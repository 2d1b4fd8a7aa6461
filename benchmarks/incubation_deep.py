"""The same as `incubation` at 64 blocks, a bench of its own since it takes hours on two cores."""

from __future__ import annotations

from benchmarks.incubation import at
from benchmarks.measure import Figure


def figures(quick: bool) -> list[Figure]:
    """Those of `incubation`, 64 blocks deep."""
    return at((16,), range(1)) if quick else at((64,), range(3))
