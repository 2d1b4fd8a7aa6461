"""What a task's function is given: its parameters, the products it needs, a folder to write to, ways to report."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assembler.assemble.product import Product

METRICS = "metrics.jsonl"
_PAUSE = 0.05  # seconds between two reports of progress: a terminal shows no more


@dataclass
class Job:
    """The one argument of a task's function, which returns the product's result as a dict of plain data.

    Files written to `out` become the product's files. `tell` is handed (step, total, info) now and then; the
    time that a task which is not kept may take counts from its call of `ready`. `beside` is what the product does not
    depend on. `values` is the folder for values of frozen models that other jobs need too, where there is one.
    """

    inputs: Mapping[str, Any]
    needs: Mapping[str, Product]
    out: Path
    tell: Callable[[int, int, dict[str, Any]], None] = lambda step, total, info: None
    ready: Callable[[], None] = lambda: None
    beside: Mapping[str, Any] = field(default_factory=dict)
    values: Path | None = None
    _told: float = field(default=-math.inf, init=False, repr=False)

    def progress(self, step: int, total: int, info: Mapping[str, Any] | None = None) -> None:
        """Report that `step` of `total` steps are done; cheap enough to be called after each."""
        now = time.monotonic()
        if step >= total or now - self._told >= _PAUSE:
            self._told = now
            self.tell(step, total, _plain(info or {}))

    def log(self, point: Mapping[str, Any]) -> None:
        """Append one point to the product's metrics.jsonl; scalars of any library will do, NaN becomes null."""
        with (self.out / METRICS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(_plain(point)) + "\n")


def _plain(point: Mapping[str, Any]) -> dict[str, Any]:
    scalars = {name: value.item() if hasattr(value, "item") else value for name, value in point.items()}
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in scalars.items()}
