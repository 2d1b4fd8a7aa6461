"""The honest baselines, in the same run and with the same seeds."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any, Literal

from assembler.assemble.product import Product
from assembler.assemble.task import Task
from assembler.errors import InputError
from assembler.infer.cost import train_flops
from assembler.pipeline.phases.assemble import assembly
from assembler.pipeline.spending import path_flops
from assembler.pipeline.state import ASSEMBLED as NAME
from assembler.registry import phase
from assembler.train.data.core import load
from assembler.train.spec import FitSpec

if TYPE_CHECKING:
    from assembler.pipeline.state import Run

RANDOM = "random_assembly"
DOC = {
    "end_to_end_total": "the winner's architecture, trained end to end for the FLOPs of the whole path",
    "end_to_end_tune": "the winner's architecture, trained end to end for the FLOPs of the tune phase",
    RANDOM: "a random assembly of the same parts within the budget, tuned alike",
}


@phase
def compare(
    run: Run,
    *,
    baselines: list[Literal["end_to_end_total", "end_to_end_tune", "random_assembly"]] | None = None,
    train: dict[str, Any] | None = None,
) -> None:
    """Train baselines for the winner, one a seed each; by default all three (a random assembly where there are parts).

    `end_to_end_total` gets the training FLOPs of everything that the path did (meta, teacher, every part, search,
    tuning), `end_to_end_tune` those of the tune phase alone; both begin with what fits of the model's `weights:`.
    `train` changes the settings of the end-to-end ones.
    """
    if NAME not in run.models:
        raise InputError(f"phase '{run.phase}' needs an assembled model, and no phase before it makes one")
    # Comparisons are paired: a seed whose assembly failed has no baselines either.
    seeds = [seed for seed, made in run.models[NAME].items() if isinstance(run.results.get(made), Product)]
    if run.winners and RANDOM in (baselines or ()):
        raise InputError(f"'{RANDOM}' needs trained parts", hint="search: {mode: parts} has them")
    usual = [name for name in DOC if name != RANDOM or not run.winners]
    for name in (*(baselines or usual),):
        run.baselines[name] = DOC[name]
        run.models[name] = {seed: _baseline(run, name, seed, train) for seed in seeds}
    run.make(t for name in run.baselines for t in run.models[name].values())


def _baseline(run: Run, name: str, seed: int, train: dict[str, Any] | None) -> Task:
    if name == RANDOM:
        return assembly(run, name, seed, _random(run, seed))[1]
    tuned = run.product(run.models[NAME][seed])
    flops = path_flops(run, seed) if name == "end_to_end_total" else tuned.result["train_flops"]
    graph = run.assembled[seed]
    settings = {**run.spec.train, **(train or {})}
    batch = FitSpec.from_spec(settings).batch
    samples = len(load(run.spec.data).train)
    # A last batch may be small, so a step is counted as an epoch's mean.
    per_step = train_flops(graph) * samples / math.ceil(samples / batch)
    steps = max(1, round(flops / per_step))
    settings |= {"steps": steps, "validate_every": _every(steps, samples, batch)}
    needs = {**run.begin(graph, fitting=True), **run.teachers(seed, None)}
    return run.training(name, graph, seed, settings, None, needs)


def _every(steps: int, samples: int, batch: int) -> int:
    """Validate about twenty times however long the training is."""
    return max(1, steps // math.ceil(samples / batch) // 20)


def _random(run: Run, seed: int) -> dict[str, int]:
    """A uniformly drawn assembly within the budget; the winner itself only if nothing else fits."""
    made = run.searches[seed].parameters
    winner = run.product(run.searches[seed]).result["choice"]
    rng = random.Random(f"random assembly {seed}")
    for _ in range(20_000):
        choice = {slot: rng.randrange(len(found)) for slot, found in made["slots"].items()}
        costs = {c: made["fixed"][c] + sum(made["slots"][s][i][c] for s, i in choice.items()) for c in made["budget"]}
        if choice != winner and all(costs[c] <= limit for c, limit in made["budget"].items()):
            return choice
    return dict(winner)
