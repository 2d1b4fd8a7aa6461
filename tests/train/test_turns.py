"""Turns, averages and what is not trained: each changes what it says and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from assembler.assemble.models import Move, Task, Training
from assembler.assemble.train import Trained, train_model
from assembler.compile.lower import lower
from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.recipe.document import parse
from assembler.train.data.batches import Batches
from assembler.train.data.core import Data, load
from assembler.train.ema import Average
from assembler.train.loop import fit_turns
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec
from assembler.train.turns import Turn
from assembler.wiring.build import build

TWO = """
kind: model
inputs: {image: [B, 1, 4, 4]}
graph:
  stem: {op: conv2d, out: 4, kernel_size: 3, padding: 1}
  norm: batch_norm2d
  flat: flatten
  left: {op: linear, out: 3}
  right: {op: linear, out: 3, from: flat}
outputs: {logits: left, other: right}
"""
LEFT = {"loss": "cross_entropy", "value": "logits", "target": "label"}
RIGHT = {"loss": "cross_entropy", "value": "other", "target": "label"}


def graph(text: str = TWO) -> Graph:
    return build(parse(text).model, name="two")


def data() -> Data:
    return load({"name": "blobs", "train": 32, "validation": 16, "test": 16, "size": 4})


def settings(**more: Any) -> FitSpec:
    return FitSpec.from_spec({"steps": 3, "batch": 16, "lr": 1e-2, **more})


def move(term: dict[str, Any], *paths: str, every: int = 1, **more: Any) -> Move:
    return Move(Objective.from_spec([term]), settings(**more), paths, paths[0] if paths else "", every)


def trained(*turns: Move, paths: tuple[str, ...] = (), terms: Any = (LEFT,), **more: Any) -> Trained:
    objective = Objective.from_spec(list(terms))
    how = Training(objective, settings(**more), 0, paths=paths, turns=turns)
    return train_model(graph(), data(), Task(Objective.from_spec([LEFT])), how)


def start() -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in lower(graph(), seed=0).state_dict().items()}


def moved(found: Trained) -> set[str]:
    return {k for k, v in start().items() if not torch.equal(v, found.weights[k]) and "running" not in k}


def test_a_turn_changes_its_own_parameters_alone() -> None:
    found = trained(move(LEFT, "left"), move(RIGHT, "right", lr=0.0, weight_decay=0.0))
    assert moved(found) == {"left.weight", "left.bias", "norm.num_batches_tracked"}
    both = trained(move(LEFT, "left"), move(RIGHT, "right"))
    assert moved(both) == {"left.weight", "left.bias", "right.weight", "right.bias", "norm.num_batches_tracked"}
    assert both.fit.history[0].keys() >= {"loss", "loss.left", "loss.right"}


def test_in_a_turn_the_parameters_of_the_others_take_no_gradient() -> None:
    left, right = torch.nn.Linear(16, 3), torch.nn.Linear(16, 3)
    seen: list[tuple[str, bool, bool]] = []

    def forward(name: str) -> Any:
        def both(batch: Any) -> dict[str, torch.Tensor]:
            seen.append((name, left.weight.requires_grad, right.weight.requires_grad))
            flat = batch["image"].flatten(1)
            return {"logits": left(flat) + right(flat)}

        return both

    objective = Objective.from_spec([LEFT])
    turns = [
        Turn(forward(name), objective, dict(module.named_parameters()), settings(steps=1), name)
        for name, module in (("left", left), ("right", right))
    ]
    fit_turns(turns, Batches(data().train, 16), settings(steps=1))
    assert seen == [("left", True, False), ("right", False, True)]
    assert left.weight.requires_grad and right.weight.requires_grad


def test_a_turn_of_every_second_step_takes_every_second_step() -> None:
    found = trained(move(LEFT, "left", every=2), move(RIGHT, "right"))
    assert found.fit.seen == (16, 48)
    assert found.train_flops > 0


def test_the_same_seed_gives_the_same_bits() -> None:
    first, again = (trained(move(LEFT, "left"), move(RIGHT, "right")) for _ in range(2))
    assert all(torch.equal(v, again.weights[k]) for k, v in first.weights.items())


@pytest.mark.parametrize("path", ["lefft", "left.weights", "*.left"])
def test_a_turn_of_a_step_that_is_not_there_is_named(path: str) -> None:
    with pytest.raises(RecipeError, match=r"there is no step '.*' in two to train"):
        trained(move(LEFT, path), move(RIGHT, "right"))


def test_a_turn_without_weights_is_named() -> None:
    with pytest.raises(RecipeError) as caught:
        trained(move(LEFT, "flat"), move(RIGHT, "right"))
    assert str(caught.value) == "error: turn 'flat' trains flat, which has no weights to train"


def test_what_is_not_trained_stays_bit_for_bit_with_its_running_statistics() -> None:
    found = trained(paths=("left",))
    kept = {k for k, v in start().items() if torch.equal(v, found.weights[k])}
    assert kept == {k for k in start() if not k.startswith("left.")}


def test_a_frozen_step_stays_bit_for_bit_with_its_running_statistics() -> None:
    text = TWO.replace("norm: batch_norm2d", "norm: {op: batch_norm2d, frozen: true}")
    frozen = graph(text)
    how = Training(Objective.from_spec([LEFT]), settings(ema={"decay": 0.5}))
    found = train_model(frozen, data(), Task(Objective.from_spec([LEFT])), how)
    begin = lower(frozen, seed=0).state_dict()
    assert all(torch.equal(begin[k], found.weights[k]) for k in begin if k.startswith("norm."))
    assert not torch.equal(begin["stem.weight"], found.weights["stem.weight"])


def test_the_average_is_the_one_by_hand() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    average, by_hand = Average(module, 0.75), module[0].weight.detach().clone()
    for value in (1.0, -2.0, 0.5):
        with torch.no_grad():
            module[0].weight.fill_(value)
            module[1].running_mean.fill_(value)
        average.update()
        by_hand = 0.75 * by_hand + 0.25 * value
    assert torch.allclose(average.module[0].weight, by_hand)
    assert torch.equal(average.module[1].running_mean, torch.full((2,), 0.5))


def test_the_average_is_the_result_unless_the_recipe_says_otherwise() -> None:
    plain, mean = trained(), trained(ema={"decay": 0.9})
    kept = trained(ema={"decay": 0.9, "result": False})
    assert torch.equal(plain.weights["left.weight"], kept.weights["left.weight"])
    assert not torch.equal(plain.weights["left.weight"], mean.weights["left.weight"])
    assert torch.equal(plain.weights["norm.running_mean"], mean.weights["norm.running_mean"])
    assert torch.equal(trained(ema={"decay": 0.0}).weights["left.weight"], plain.weights["left.weight"])


def test_an_objective_may_read_the_average_and_gives_it_no_gradient() -> None:
    agree = {"loss": "mse", "value": "logits", "target": "ema.logits", "weight": 5.0}
    found = trained(terms=[LEFT, agree], ema={"decay": 0.5, "result": False})
    assert found.fit.history[-1]["loss.mse"] > 0
    with pytest.raises(RecipeError) as caught:
        trained(terms=[LEFT, agree])
    assert str(caught.value) == (
        "error: the objective reads 'ema.logits', and no average is kept\n    hint: ema: {decay: 0.999}"
    )


@pytest.mark.parametrize(
    ("ema", "message"),
    [
        ({"decay": 1.0}, "'decay' of 'ema' must be a number from 0 to below 1, not 1.0"),
        ({}, "'decay' of 'ema' must be a number from 0 to below 1, not None"),
        ({"decay": 0.9, "results": True}, "'ema' has no 'results'"),
        ({"decay": 0.9, "result": 1}, "'result' of 'ema' must be true or false, not 1"),
    ],
)
def test_a_wrong_average_is_named(ema: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        settings(ema=ema)
    hint = "for instance {decay: 0.999}, or {decay: 0.99, result: false}"
    assert str(caught.value) == f"error: {message}\n    hint: {hint}"
