"""The settings of one training run, as a recipe writes them. Free of torch, so that linting can read it."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from assembler.errors import Problem, RecipeError
from assembler.registry.entry import Entry
from assembler.registry.live import describe
from assembler.train import augment, constraints
from assembler.train.arguments import check

_MOST = 1e30  # products of more than this overflow float32 inside torch's optimisers, which ends in a traceback


@dataclass(frozen=True, slots=True)
class FitSpec:
    """How long to train, in what batches, with which optimiser.

    `epochs` may be a fraction, 0 leaves the weights as they are, and `steps` overrides it; `lr` is the peak rate and
    `weight_decay` spares vectors; `warmup` is a share of the steps; `clip` bounds the norm of all gradients together;
    `precision` "auto" is bfloat16 autocast on CUDA and float32 elsewhere; `validate_every` counts epochs, 0 is at the
    end alone; `augment` is `{shift: pixels, flip: true}`; `ema` is `{decay: 0.999, result: true}`: an average of the
    weights after every step, which an objective may read (`ema.logits`) and which is the result unless that is false;
    `constraints` are what weights meet after every step, by path: `{decoder.weight: {name: unit_norm, dim: 0}}`,
    `{name: max_norm, dim: 1, most: 3}`, `{name: range, low: -0.01, high: 0.01}`;
    `seed` leads to other weights and another order of the samples than the run's seed alone, for models that differ in
    nothing else.
    """

    epochs: float = 10
    steps: int | None = None
    batch: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    optimizer: str | dict[str, Any] = "adamw"
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = 0.05
    clip: float | None = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    validate_every: int = 1
    augment: dict[str, Any] | None = None
    ema: dict[str, Any] | None = None
    constraints: dict[str, dict[str, Any]] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = [Problem(f"'{name}' must be {rule}, not {getattr(self, name)!r}") for name, rule in self._broken()]
        wrong += _average_problems(self.ema) + constraints.problems(self.constraints) + augment.problems(self.augment)
        if wrong:
            raise RecipeError(wrong)

    def _broken(self) -> list[tuple[str, str]]:
        rules = [
            ("epochs", "at least 0", 0 <= self.epochs < math.inf),
            ("steps", "at least 1", self.steps is None or self.steps >= 1),
            ("batch", "at least 1", self.batch >= 1),
            ("lr", "from 0 to 1e+30", 0 <= self.lr <= _MOST),
            ("weight_decay", "from 0 to 1000", 0 <= self.weight_decay <= 1000),
            ("warmup", "from 0 to 1", 0 <= self.warmup <= 1),
            ("clip", "above 0, or null", self.clip is None or self.clip > 0),
            ("validate_every", "at least 0", self.validate_every >= 0),
            ("seed", "at least 0", self.seed >= 0),
        ]
        return [(name, rule) for name, rule, holds in rules if not holds]

    @property
    def average(self) -> tuple[float, bool] | None:
        """(decay, whether it is the result) of the average of the weights, or None where none is kept."""
        return (self.ema["decay"], self.ema.get("result", True)) if self.ema else None

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], *, path: str = "") -> FitSpec:
        """The settings that a recipe's mapping gives. Raises RecipeError for unknown keys and wrong values."""
        args = check(signature(), spec, path=path)
        try:
            return cls(**args)
        except RecipeError as error:
            raise RecipeError([replace(problem, path=path) for problem in error.problems]) from None

    def total_steps(self, per_epoch: int) -> int:
        """How many steps to take where an epoch has `per_epoch` of them."""
        return self.steps or (max(1, math.ceil(round(self.epochs * per_epoch, 6))) if self.epochs else 0)


def _average_problems(ema: Mapping[str, Any] | None) -> list[Problem]:
    if ema is None:
        return []
    hint = "for instance {decay: 0.999}, or {decay: 0.99, result: false}"
    found = [f"'ema' has no '{key}'" for key in ema if key not in ("decay", "result")]
    decay = ema.get("decay")
    if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 <= decay < 1:
        found.append(f"'decay' of 'ema' must be a number from 0 to below 1, not {decay!r}")
    if not isinstance(ema.get("result", True), bool):
        found.append(f"'result' of 'ema' must be true or false, not {ema['result']!r}")
    return [Problem(message, hint=hint) for message in found]


@dataclass(frozen=True, slots=True)
class TurnSpec:
    """One turn of a training step: the steps that it trains, on what objective, every how many steps.

    `train` are paths, in which `*` stands for any one part; `name` is the first of them where it is left out. The
    other settings are the phase's where they are left out.
    """

    train: list[str]
    objective: list[dict[str, Any]] | dict[str, Any]
    name: str = ""
    every: int = 1
    lr: float | None = None
    weight_decay: float | None = None
    optimizer: str | dict[str, Any] | None = None
    schedule: Literal["cosine", "linear", "constant"] | None = None
    warmup: float | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        if not self.train:
            raise RecipeError("a turn trains nothing", hint="train: [generator]")
        if self.every < 1:
            raise RecipeError(f"'every' must be at least 1, not {self.every}")

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], *, path: str = "") -> TurnSpec:
        """The turn that a recipe's mapping gives. Raises RecipeError for unknown keys and wrong values."""
        args = check(describe("turn", "", cls, {}), spec, path=path)
        try:
            return cls(**{**args, "name": args["name"] or ".".join(args["train"][:1])})
        except RecipeError as error:
            raise RecipeError([replace(problem, path=path) for problem in error.problems]) from None


OWN = ("lr", "weight_decay", "optimizer", "schedule", "warmup", "clip")
"""The settings that a turn may have for itself."""


def turn_settings(turn: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a turn as a recipe writes it, over those of the phase."""
    return {**base, **{name: turn[name] for name in OWN if name in turn}}


def settings(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a phase, over those of its run: `epochs` of its own go before the run's `steps`."""
    kept = {k: v for k, v in base.items() if k != "steps" or "epochs" not in own}
    return {**kept, **own}


def named_data(said: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """A data set as `data:` says it, whose bare name is short for `{name: ...}`."""
    return {"name": said} if isinstance(said, str) else said


@functools.cache
def signature() -> Entry:
    """`FitSpec` as the schema of a training run, in the form of a registered thing's."""
    return describe("training", "", FitSpec, {})
