"""Searches with cheaper trials against training every candidate from the start, at equal training FLOPs.

On a MetaFormer space with Fashion-MNIST. All methods get the FLOPs that the random search's trainings take; what a
method spends on shared weights, on scoring with them and on the winner's own training counts. The winner is chosen by
validation; its test accuracy is read once, at the end.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assembler import resources
from assembler.assemble.runner import Event, Runner
from assembler.assemble.store import Store
from assembler.assemble.task import Task
from assembler.graph.text import from_text
from assembler.infer.cost import total
from assembler.pipeline.searching import search_recipe, settings
from assembler.pipeline.training import test_task
from assembler.recipe.document import parse
from benchmarks.measure import Figure

SPACE = """
kind: space
name: metaformer
base:
  vars: {dim: 16, depth: 2}
  inputs: {image: [B, 1, 28, 28]}
  blocks:
    metaformer:
      params: {mixer: pool, ratio: 2}
      body:
        mix: {op: residual, body: {norm: {op: group_norm, num_groups: 1}, token: {op: =mixer}}}
        mlp: {op: residual, body: {norm: {op: group_norm, num_groups: 1}, ffn: {op: conv_mlp, ratio: =ratio}}}
  graph:
    stem: {op: conv2d, out: =dim, kernel_size: 4, stride: 4}
    block: {op: metaformer, repeat: 3}
    norm: {op: group_norm, num_groups: 1}
    pool: global_avg_pool
    head: {op: linear, out: 10}
  outputs: {logits: head}
choose:
  block.*.mixer: {$oneof: [pool, dwconv, attention, zero]}
  block.*.ratio: {$oneof: [1, 2, 4]}
  vars.dim: {$oneof: [8, 16]}
"""
DATA = {"name": "fashion_mnist", "train": 2000, "validation": 1000}
EPOCHS = 4
TRAIN = {"epochs": EPOCHS, "batch": 64, "lr": 5e-3}
SHORT = {**TRAIN, "epochs": EPOCHS / 2}
METHODS: dict[str, dict[str, Any]] = {
    "random": {"sampler": "random", "train": TRAIN},
    "trials": {"sampler": "evolution", "train": TRAIN},
    "inherit": {"sampler": "evolution", "train": SHORT, "mode": "inherit"},
    "supernet": {"sampler": "evolution", "train": TRAIN, "mode": "supernet"},
}
_LEFT = 3  # trainings whose FLOPs shared weights leave to the scores and the winner


@dataclass
class Spent:
    """The tasks of one search in order: training FLOPs and validation of each."""

    tasks: list[tuple[Task, int, float]] = field(default_factory=list)

    def hear(self, event: Event) -> None:
        """Take in a finished task; one that others need is heard of again, and has cost nothing then."""
        if event.kind in ("done", "reused") and event.task not in [task for task, _, _ in self.tasks]:
            flops = event.info.get("train_flops")
            samples = DATA["validation"]
            if flops is None:
                flops = total(from_text(event.task.parameters["graph"])).flops * int(str(samples))
            self.tasks.append((event.task, int(flops), float(event.info.get("validation", 0.0))))

    def within(self, budget: float) -> list[tuple[Task, int, float]]:
        """Those that the budget pays for, each with the FLOPs spent until it was done."""
        found, spent = [], 0
        for task, flops, value in self.tasks:
            spent += flops
            if spent <= budget:
                found.append((task, spent, value))
        return found


def figures(quick: bool) -> list[Figure]:
    """Test accuracy of every method's winner, and the FLOPs to the random search's best validation, in its own."""
    seeds, trials = (range(1), 6) if quick else (range(3), 12)
    accuracies: dict[str, list[float]] = {name: [] for name in METHODS}
    costs: dict[str, list[float]] = {name: [] for name in METHODS}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ASSEMBLER_HOME"] = str(Path(folder) / "home")
        for seed in seeds:
            budget = target = 0.0
            for name in METHODS:
                spent = _search(name, seed, trials)
                if name == "random":
                    budget = float(sum(flops for _, flops, _ in spent.tasks))
                    target = max(value for _, _, value in spent.tasks)
                done = [one for one in spent.within(budget) if one[0].run.endswith("jobs:train")]
                accuracies[name].append(_test(max(done, key=lambda one: one[2])[0]) if done else 0.0)
                reached = [until for _, until, value in done if value >= target]
                costs[name].append(min(reached) / budget if reached else float("inf"))
    return _figures(accuracies, costs)


def _search(name: str, seed: int, trials: int) -> Spent:
    """A search that spends at least as much as `trials` random candidates cost."""
    how: dict[str, Any] = {**METHODS[name], "data": DATA, "seed": seed}
    if name == "supernet":
        how |= {"supernet": {"train": "spos", "epochs": (trials - _LEFT) * EPOCHS, "then": "scratch"}, "trials": 40}
    else:
        how["trials"] = {"random": trials, "trials": trials * 4 // 3, "inherit": trials * 8 // 3}[name]
    document, spent = parse(SPACE, "metaformer.yaml"), Spent()
    search_recipe(document, settings(document, how), on_event=spent.hear)
    return spent


def _test(trained: Task) -> float:
    with Runner(Store(resources.store_home())) as runner:
        wanted = test_task(trained)
        return float(runner.run([wanted])[wanted].result["test"])  # type: ignore[union-attr]


def _figures(accuracies: dict[str, list[float]], costs: dict[str, list[float]]) -> list[Figure]:
    base = statistics.mean(accuracies["random"])
    rows = []
    for name, found in accuracies.items():
        mean, apart = 100 * statistics.mean(found), 100 * _deviation(found)
        goal, holds = ("reported", True) if name in ("random", "trials") else ("> random", mean > 100 * base)
        rows.append(Figure(f"{name}: test accuracy, %", mean, goal, holds, "random", apart, len(found)))
    for name, found in costs.items():
        reached = [cost for cost in found if cost < float("inf")]
        value = statistics.median(found) if len(reached) * 2 > len(found) else 9.99
        rows.append(
            Figure(f"{name}: FLOPs to random's best / random's", value, "reported", True, "random", 0.0, len(found))
        )
    return rows


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
