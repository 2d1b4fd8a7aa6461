"""Searches with cheaper trials against training every candidate from the start, at equal FLOPs.

On a MetaFormer space with Fashion-MNIST. The budget is what a number of trainings of the space's mean candidate cost,
known before anything is trained; every training, of shared weights too, and every validation counts, and what ends
after the budget is spent does not. The winner is chosen by validation; its test accuracy is read once, at the end.
One learning rate serves all methods, chosen by the validation of random candidates; how much of the budget tunes the
supernet's winner was chosen by its validation. Both with seeds that are not measured here.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assembler import resources
from assembler.assemble.runner import Event, Runner
from assembler.assemble.store import Store
from assembler.assemble.supernet.training import Places
from assembler.assemble.task import Task
from assembler.graph.core import Graph
from assembler.graph.text import from_text
from assembler.infer.cost import total, train_flops
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.run import search_recipe
from assembler.pipeline.search.settings import settings
from assembler.pipeline.training import test_task
from assembler.recipe.document import parse
from benchmarks.measure import Figure

SPACE = """
kind: space
name: metaformer
base:
  vars: {dim: 16}
  inputs: {image: [B, 1, 28, 28]}
  blocks:
    metaformer:
      params: {mixer: pool, ratio: 2}
      body:
        mix: {op: residual, body: {norm: {op: group_norm, num_groups: 1}, token: {op: =mixer}}}
        mlp: {op: residual, body: {norm: {op: group_norm, num_groups: 1}, ffn: {op: conv_mlp, ratio: =ratio}}}
  graph:
    stem: {op: conv2d, out: =dim, kernel_size: 7, stride: 7}
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
TRAIN_SAMPLES, VALIDATION = 2000, 1000
DATA = {"name": "fashion_mnist", "train": TRAIN_SAMPLES, "validation": VALIDATION}
EPOCHS = 8
TRAIN = {"epochs": EPOCHS, "batch": 64, "lr": 2e-2, "validate_every": 0}
EVOLUTION = {"name": "evolution", "population_size": 4}
METHODS: dict[str, dict[str, Any]] = {
    "random": {"sampler": "random", "train": TRAIN},
    "trials": {"sampler": EVOLUTION, "train": TRAIN},
    "inherit": {"sampler": EVOLUTION, "train": TRAIN, "mode": "inherit"},
    "supernet": {
        "sampler": "evolution",
        "train": TRAIN,
        "mode": "supernet",
        "supernet": {"train": "spos", "then": "tune"},
        "trials": 20,
    },
}
CHEAPER = ("inherit", "supernet")
_DRAWN = 60  # candidates that the space's mean and largest are told from


class ExhaustedError(Exception):
    """The budget is spent."""


@dataclass
class Spent:
    """The tasks of one search in order: the FLOPs spent until each was done, and its validation."""

    budget: float
    flops: float = 0.0
    tasks: list[tuple[Task, float, float]] = field(default_factory=list)
    seen: set[Task] = field(default_factory=set)

    def hear(self, event: Event) -> None:
        """Take in a finished task; one that others need is heard of again, and has cost nothing then.

        Raises ExhaustedError where it cost more than was left.
        """
        if event.kind not in ("done", "reused") or event.task in self.seen:
            return
        self.seen.add(event.task)
        self.flops += event.info.get("train_flops", 0)
        if "validation" in event.info:
            self.flops += _validating(from_text(event.task.parameters["graph"]))
        if self.flops > self.budget:
            raise ExhaustedError
        if event.task.run == "assembler.pipeline.jobs:train":
            self.tasks.append((event.task, self.flops, float(event.info["validation"])))


def _validating(graph: Graph) -> int:
    return total(graph).flops * VALIDATION


def _trained(graph: Graph, epochs: float) -> float:
    """FLOPs of a training and its validation."""
    return train_flops(graph) * TRAIN_SAMPLES * epochs + _validating(graph)


@dataclass(frozen=True)
class Costs:
    """FLOPs of the space's candidates, told from some of them."""

    graphs: Sequence[Graph]
    largest: Graph

    def mean(self, epochs: float) -> float:
        """What training one takes."""
        return statistics.mean(_trained(graph, epochs) for graph in self.graphs)

    def shared(self, budget: float, how: Mapping[str, Any]) -> int:
        """Epochs that shared weights can be trained for, so that the scores and any winner's training are paid too."""
        left = budget - _trained(self.largest, how["train"]["epochs"]) - how["trials"] * _validating(self.largest)
        return math.floor(left / (TRAIN_SAMPLES * statistics.mean(map(train_flops, self.graphs))))


def drawn() -> Costs:
    """The largest candidate of the space and a sample of the others."""
    document, rng = parse(SPACE, "metaformer.yaml"), random.Random(0)
    candidates = Candidates(document.model, document.name)
    places = Places(candidates.space, candidates.graph)
    some = [candidates.graph(places.draw(rng)) for _ in range(_DRAWN)]
    return Costs(some, candidates.graph(places.extreme(rng, 1)))


def figures(quick: bool) -> list[Figure]:
    """Test accuracy of every method's winner, and the FLOPs to the random search's best validation, in budgets."""
    seeds, trials = (range(1), 5) if quick else (range(3), 10)
    costs = drawn()
    budget = trials * costs.mean(EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ASSEMBLER_HOME"] = str(Path(folder) / "home")
        context = multiprocessing.get_context("spawn")  # nothing is timed, so that seeds may go side by side
        with ProcessPoolExecutor(len(seeds), context) as pool:
            found = list(pool.map(_compared, seeds, [budget] * len(seeds), [costs] * len(seeds)))
    accuracies = {name: [one[name][0] for one in found] for name in METHODS}
    reached = {name: [one[name][1] for one in found] for name in METHODS}
    return [*accuracies_of(accuracies), *costs_of(reached)]


def _compared(seed: int, budget: float, costs: Costs) -> dict[str, tuple[float, float]]:
    """Test accuracy of each method's winner, and the share of the budget until it was as good as random's winner."""
    found, target = {}, math.inf
    for name in METHODS:
        done = _search(name, seed, budget, costs)
        if name == "random":
            target = max(value for _, _, value in done)
        reached = min((until / budget for _, until, value in done if value >= target), default=math.inf)
        found[name] = _test(max(done, key=lambda one: one[2])[0]) if done else 0.0, reached
    return found


def _search(name: str, seed: int, budget: float, costs: Costs) -> list[tuple[Task, float, float]]:
    """What a search has trained when the budget is spent: each with the FLOPs until then and its validation."""
    how: dict[str, Any] = {"trials": 1000, **METHODS[name], "data": DATA, "seed": seed}
    if name == "supernet":
        how["supernet"] = {**how["supernet"], "epochs": costs.shared(budget, how)}
    document, spent = parse(SPACE, "metaformer.yaml"), Spent(budget)
    with suppress(ExhaustedError):
        search_recipe(document, settings(document, how), on_event=spent.hear)
    return spent.tasks


def _test(trained: Task) -> float:
    with Runner(Store(resources.store_home())) as runner:
        wanted = test_task(trained)
        return float(runner.run([wanted])[wanted].result["test"])  # type: ignore[union-attr]


def accuracies_of(found: Mapping[str, list[float]]) -> Iterator[Figure]:
    """Mean test accuracy of the winners of each method; with cheaper trials they are to be as good as without."""
    base = 100 * statistics.mean(found["trials"])
    for name, values in found.items():
        mean = 100 * statistics.mean(values)
        goal, holds = (">= trials", mean >= base) if name in CHEAPER else ("reported", True)
        peer = "trials" if name in CHEAPER else ""
        yield Figure(f"{name}: test accuracy, %", mean, goal, holds, peer, 100 * _deviation(values), len(values))


def costs_of(found: Mapping[str, list[float]]) -> Iterator[Figure]:
    """The expected FLOPs to the target (Hansen et al. 2010, COCO): those spent by all seeds for each that reaches it.

    A seed that does not reach it has spent the budget; where none does, the value is a bound from below.
    """
    for name, values in found.items():
        spent = [min(1.0, value) for value in values]
        there = sum(value < math.inf for value in values)
        cost = sum(spent) / max(1, there)
        goal, holds = ("<= 1", there > 0 and cost <= 1) if name in CHEAPER else ("reported", True)
        yield Figure(
            f"{name}: FLOPs to random's best / budget", cost, goal, holds, "random", _deviation(spent), len(spent)
        )


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
