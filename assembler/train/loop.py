"""The training loop: flat, the same for a whole model, a part inside a host and a student with its teacher."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from assembler.train import constraints
from assembler.train.data.batches import Batches
from assembler.train.device import seed_all
from assembler.train.evaluate import Forward
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec
from assembler.train.turns import Player, Turn, take_turn
from assembler.train.world import seed_of, world

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a training run tells and asks its caller.

    `progress(step, steps, info)` is called at most ten times a second, and at the end; `log(record)` once an epoch;
    `validate()` returns the score of the model as it is, with every module put back into the mode that it was in;
    `after()` is called after every step.
    """

    progress: Callable[[int, int, Record], None] | None = None
    log: Callable[[Record], None] | None = None
    validate: Callable[[], float] | None = None
    after: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a run did: steps, samples seen, seconds, mean loss of its last epoch, last validation score, log records.

    `seen` are the samples of each turn: fewer than `samples` where it does not take part in every step.
    """

    steps: int
    samples: int
    seconds: float
    loss: float
    validation: float | None
    history: tuple[Record, ...]
    seen: tuple[int, ...] = ()


def fit(
    forward: Forward,
    batches: Batches,
    objective: Objective,
    params: Mapping[str, nn.Parameter],
    spec: FitSpec,
    hooks: Hooks | None = None,
) -> FitResult:
    """Train `params`, by recipe path, on `objective` of the batch and the values that `forward(batch)` returns.

    It is `fit_turns` with one turn.
    """
    return fit_turns([Turn(forward, objective, params, spec)], batches, spec, hooks)


def fit_turns(turns: Sequence[Turn], batches: Batches, spec: FitSpec, hooks: Hooks | None = None) -> FitResult:
    """Train by taking turns on every batch, one after another; a turn's gradient reaches its own parameters alone.

    Only the turns' parameters are stepped; the caller freezes the rest, moves the modules to the batches' device and
    sets their modes. torch is seeded with the batches' seed for the run and put back after it, so that on a CPU with
    one thread the same start gives the same bits. Processes that train together (`assembler.train.world`) divide every
    batch among them. Raises TrainingError where a loss or its gradient is no longer finite.
    """
    hooks, total = hooks or Hooks(), spec.total_steps(len(batches))
    if among := world():
        from assembler.train.parallel import divided  # torch's own parts for this take longer to import than torch

        turns = [divided(turn, among) for turn in turns]
    players = [Player(turn, total) for turn in turns]
    constraints.check(spec.constraints, [name for player in players for name in player.params])
    device = players[0].device
    names = tuple(f"loss.{turn.name}" for turn in turns)
    ledger = _Ledger(spec, hooks, total, len(batches), names)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_all(seed_of(batches.seed))
        for step, batch in enumerate(batches.take(total), start=1):
            size = len(next(iter(batch.values())))
            for player in players:
                if step % player.turn.every == 0:
                    if len(players) > 1:
                        take_turn(player, players)
                    ledger.add(player.turn.name, *player.step(step, batch), size)
            if hooks.after:
                hooks.after()
            ledger.enter(step, players[0].rate(step), size)
    if not total:
        ledger.close(0, 0.0)
    for player in players:
        take_turn(player, [])
    return ledger.result(tuple(player.samples for player in players))


@dataclass
class _Ledger:
    """Sums of the epoch under way, and what has been logged."""

    spec: FitSpec
    hooks: Hooks
    total: int
    per_epoch: int
    turns: tuple[str, ...] = ()
    start: float = field(default_factory=time.monotonic)
    told: float = 0.0
    steps: int = 0
    samples: int = 0
    now: Tensor | None = None
    sums: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    history: list[Record] = field(default_factory=list)

    def add(self, turn: str, loss: Tensor, terms: Mapping[str, Tensor], size: int) -> None:
        """Enter what one turn of a step came to. The losses of all turns are added up."""
        head = f"loss.{turn}" if turn else "loss"
        several = {f"{head}.{name}": term for name, term in terms.items() if len(terms) > 1}
        for name, tensor in {head: loss, **several}.items():
            total, seen = self.sums.get(name, (0, 0))
            self.sums[name] = (total + tensor * size, seen + size)
        self.now = loss if self.now is None else self.now + loss

    def enter(self, step: int, lr: float, size: int) -> None:
        """Close a step."""
        self.steps, self.samples = step, self.samples + size
        self._tell(step, lr)
        self.now = None
        if step % self.per_epoch == 0 or step == self.total:
            self.close(step, lr)

    def _tell(self, step: int, lr: float) -> None:
        now = time.monotonic()
        if self.hooks.progress and (now - self.told >= 0.1 or step == self.total):
            self.told = now
            loss = {} if self.now is None else {"loss": self.now.item()}
            self.hooks.progress(step, self.total, {"epoch": self._epoch(step), **loss, "lr": lr})

    def close(self, step: int, lr: float) -> None:
        """Log an epoch, or what there is without any step; there is no loss then."""
        means = {name: (tensor / seen).item() for name, (tensor, seen) in self.sums.items()}
        if "loss" not in means:
            several = sum((v for name, v in means.items() if name in self.turns), 0.0)
            means = {"loss": several if step else math.nan, **means}
        record: Record = {"epoch": self._epoch(step), "step": step, "lr": lr, **means}
        every = self.spec.validate_every
        due = step == self.total or (every and step // self.per_epoch % every == 0)
        if self.hooks.validate and due:
            record["validation"] = self.hooks.validate()
        self.history.append(record)
        self.sums = {}
        if self.hooks.log:
            self.hooks.log(record)

    def _epoch(self, step: int) -> float:
        epoch = round(step / self.per_epoch, 4)
        return int(epoch) if epoch.is_integer() else epoch

    def result(self, seen: tuple[int, ...]) -> FitResult:
        """The run as a whole."""
        last, seconds, history = self.history[-1], time.monotonic() - self.start, tuple(self.history)
        return FitResult(self.steps, self.samples, seconds, last["loss"], last.get("validation"), history, seen)
