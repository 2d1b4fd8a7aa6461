"""The exact choice of parts at two sizes, alone and as a diverse pool; a full store, listed and read from."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from assembler.search.exact import Additive, diverse, solve
from benchmarks.measure import Figure, command, spread

SECOND = 1.0
COSTS = ("params", "latency")
PARTS = 10_000


def figures(quick: bool) -> list[Figure]:
    """Seconds of the solver, and how many times faster parts are read than trained."""
    runs = 1 if quick else 5
    rows = []
    for slots, variants in ((24, 32), (48, 64)):
        seconds = [timed(lambda p: solve(p), slots, variants, seed) for seed in range(runs)]
        goal = slots == 24
        rows.append(_seconds(f"exact choice, {slots} slots of {variants}", seconds, goal=goal))
    seconds = [timed(lambda p: list(itertools.islice(diverse(p, 3), 8)), 24, 32, seed) for seed in range(runs)]
    rows.append(_seconds("8 choices, each 3 slots from all others, 24 of 32", seconds, goal=False))
    return [*rows, listing(quick), hit(quick)]


def library(slots: int, variants: int, seed: int) -> Additive:
    """Slots whose better variants cost more, as trained parts do, at two budgets of a third of the way up."""
    draw = random.Random(seed)
    scores, costs = {}, {name: dict[str, tuple[float, ...]]() for name in COSTS}
    for n in range(slots):
        scores[f"slot.{n}"] = tuple(sorted((draw.random() for _ in range(variants)), reverse=True))
        for name in COSTS:
            costs[name][f"slot.{n}"] = tuple(sorted(draw.uniform(1e3, 1e6) for _ in range(variants)))
    least = {name: sum(map(min, cost.values())) for name, cost in costs.items()}
    most = {name: sum(map(max, cost.values())) for name, cost in costs.items()}
    return Additive(scores, costs, {}, {name: least[name] + (most[name] - least[name]) / 3 for name in COSTS})


def timed(solver: Callable[[Additive], object], slots: int, variants: int, seed: int) -> float:
    """Wall seconds of a solver on a library."""
    problem = library(slots, variants, seed)
    start = time.perf_counter()
    solver(problem)
    return time.perf_counter() - start


def _seconds(name: str, values: list[float], *, goal: bool) -> Figure:
    middle = statistics.median(values)
    around = spread(values) if len(values) > 1 else 0.0
    return Figure(
        f"{name}, s", middle, f"<= {SECOND:g}" if goal else "reported", middle <= SECOND or not goal, "", around
    )


def listing(quick: bool) -> Figure:
    """`assembler parts ls` of a store of 10,000 parts: wall time of the process, the interpreter's start included."""
    inputs = {"slot": "stage.0", "part": "step = linear(x)\n" * 200, "seed": 0}
    with tempfile.TemporaryDirectory() as home:
        for number in range(PARTS):
            key = hashlib.blake2b(str(number).encode(), digest_size=20).hexdigest()
            folder = Path(home) / "parts" / key[:2] / key
            folder.mkdir(parents=True)
            (folder / "weights.safetensors").write_bytes(b"weights")
            card: dict[str, object] = {
                "key": key,
                "run": "assembler.pipeline.jobs:part",
                "inputs": inputs,
                "label": f"part {number}",
            }
            card |= {"result": {"score": 0.5}, "seconds": 1.0, "created": "2026-01-01T00:00:00+00:00"}
            card |= {"files": {"weights.safetensors": {"size": 7, "sha256": "0" * 64}}}
            (folder / "card.json").write_text(json.dumps(card, indent=1))
        os.environ["ASSEMBLER_HOME"] = home
        call = command([sys.executable, "-m", "assembler", "parts", "ls", "--slot", "stage.*"])
        call()
        seconds = [call() for _ in range(1 if quick else 5)]
    return _seconds(f"{PARTS:,} parts listed", seconds, goal=True)


def hit(quick: bool) -> Figure:
    """The quickstart's parts trained, over read again from the store: wall time of the run."""
    import assembler

    changes = ["seeds=[0]", "phases.compare=null", "phases.export=null", *(["train.epochs=1"] if quick else [])]
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"ASSEMBLER_HOME": str(Path(folder) / "home"), "ASSEMBLER_RUNS": str(Path(folder) / "runs")}
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            assembler.run("quickstart", *changes, workers=2)
            seconds.append(time.perf_counter() - start)
    return Figure(
        "parts trained / read from the store, wall", seconds[0] / seconds[1], "reported", True, "training", 0.0
    )
