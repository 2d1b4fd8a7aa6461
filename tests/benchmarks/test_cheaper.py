"""What the bench of cheaper searches counts, and when a budget is spent."""

from __future__ import annotations

import math
from typing import Any

import pytest

from assembler.assemble.runner import Event
from assembler.assemble.task import task
from assembler.graph.core import Graph
from assembler.graph.text import to_text
from assembler.infer.cost import total, train_flops
from assembler.recipe.document import parse
from assembler.wiring.build import build
from benchmarks import cheaper
from benchmarks.cheaper import Costs, ExhaustedError, Spent

MODEL = "kind: model\ninputs: {x: [B, 4]}\ngraph: {head: {op: linear, out: %d}}\n"


def graph(width: int) -> Graph:
    return build(parse(MODEL % width).model)


def made(width: int, run: str = "jobs:train", **info: Any) -> Event:
    inputs = {"graph": to_text(graph(width))}
    return Event("done", task(f"assembler.pipeline.{run}", inputs, label=str(width)), info=info)


def validating(width: int) -> int:
    return total(graph(width)).flops * cheaper.VALIDATION


def test_trainings_shared_weights_and_scores_count_once_and_only_trained_models_can_win() -> None:
    spent = Spent(1e9)
    spent.hear(made(3, "search.supernets:train", train_flops=500))
    spent.hear(made(3, "search.supernets:score", validation=0.9))
    assert spent.flops == 500 + validating(3) and spent.tasks == []
    first = made(2, train_flops=1000, validation=0.5)
    for event in (Event("started", first.task), first, first):
        spent.hear(event)
    assert spent.flops == 1500 + validating(3) + validating(2)
    assert spent.tasks == [(first.task, spent.flops, 0.5)]


def test_what_ends_after_the_budget_is_spent_does_not_count() -> None:
    spent = Spent(1000 + validating(2))
    spent.hear(made(2, train_flops=1000, validation=0.5))
    with pytest.raises(ExhaustedError):
        spent.hear(made(3, train_flops=1, validation=0.9))
    assert [value for _, _, value in spent.tasks] == [0.5]


def test_shared_weights_leave_enough_for_the_scores_and_the_largest_winner() -> None:
    costs = Costs([graph(2), graph(4)], graph(8))
    how = {"train": {"epochs": 2}, "trials": 5}
    budget = 40 * costs.mean(2)
    epochs = costs.shared(budget, how)
    mean = (train_flops(graph(2)) + train_flops(graph(4))) / 2
    rest = 2 * train_flops(graph(8)) * cheaper.TRAIN_SAMPLES + 6 * validating(8)
    assert epochs * mean * cheaper.TRAIN_SAMPLES + rest <= budget
    assert (epochs + 1) * mean * cheaper.TRAIN_SAMPLES + rest > budget


def test_the_cost_of_a_target_counts_the_seeds_that_miss_it() -> None:
    rows = {f.name.split(":")[0]: f for f in cheaper.costs_of({"inherit": [0.5, math.inf], "supernet": [math.inf] * 3})}
    assert (rows["inherit"].value, rows["inherit"].holds) == (1.5, False)
    assert (rows["supernet"].value, rows["supernet"].holds) == (3.0, False)
    assert next(iter(cheaper.costs_of({"inherit": [0.5, 0.7]}))).holds
    assert not next(iter(cheaper.costs_of({"inherit": [math.inf]}))).holds


def test_cheaper_trials_are_held_against_trials() -> None:
    rows = list(cheaper.accuracies_of({"random": [0.9], "trials": [0.7, 0.8], "inherit": [0.75], "supernet": [0.6]}))
    assert [(f.name.split(":")[0], f.holds, f.goal) for f in rows] == [
        ("random", True, "reported"),
        ("trials", True, "reported"),
        ("inherit", True, ">= trials"),
        ("supernet", False, ">= trials"),
    ]
