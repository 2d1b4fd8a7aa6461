"""One player of a training step: its own forward pass, objective, gradient and optimiser step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from assembler.errors import TrainingError
from assembler.train import constraints, diagnose, optimizers, schedule
from assembler.train.evaluate import Forward
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec
from assembler.train.world import full


@dataclass(frozen=True)
class Turn:
    """What one turn of a step does: train `params`, by recipe path, on `objective` of what `forward(batch)` returns.

    `spec` gives its optimiser, rate and clipping; with `every` it takes part in every so manieth step alone. `name`
    tells turns apart in logs and messages, and is "" where there is one.
    """

    forward: Forward
    objective: Objective
    params: Mapping[str, nn.Parameter]
    spec: FitSpec
    name: str = ""
    every: int = 1

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that take a gradient."""
        return {name: p for name, p in self.params.items() if p.requires_grad}


@dataclass
class Player:
    """A turn under way: its optimiser and how many samples it has seen. `total` is how many steps a run has."""

    turn: Turn
    total: int
    samples: int = 0
    params: dict[str, nn.Parameter] = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        spec, self.params = self.turn.spec, self.turn.trained
        if not self.params:
            whose = f" in turn '{self.turn.name}'" if self.turn.name else ""
            raise TrainingError(f"there is nothing to train{whose}: no parameter takes a gradient")
        self.optimizer = optimizers.build(spec.optimizer, self.params, spec.lr, spec.weight_decay)
        constraints.attach(self.optimizer, self.params, spec.constraints)
        self.device = next(iter(self.params.values())).device

    def step(self, number: int, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Take step `number`, counted from 1: the loss and its terms, detached.

        Raises TrainingError where the loss or its gradient is not finite.
        """
        turn, spec, lr = self.turn, self.turn.spec, self.rate(number)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        values = self._values(batch)
        loss, terms = turn.objective(values)
        if not loss.requires_grad:
            reads = "it reads " + ", ".join(sorted(turn.objective.needs))
            raise TrainingError("no trained parameter has a part in the objective", hint=reads)
        if not diagnose.finite(loss):
            where = self._where(number)
            raise diagnose.bad_loss(where, loss, terms, values, self.params, lr, lambda: self._loss(batch))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if spec.clip is not None:
            norm = full(nn.utils.clip_grad_norm_(self.params.values(), spec.clip))
            if not diagnose.finite(norm):
                raise diagnose.bad_gradient(self._where(number), self.params, lr, lambda: self._loss(batch))
        self.optimizer.step()
        self.samples += len(next(iter(batch.values())))
        return loss.detach(), terms

    def _values(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with _autocast(self.device, self.turn.spec.precision):
            return {**batch, **self.turn.forward(batch)}

    def _loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self.turn.objective(self._values(batch))[0]

    def rate(self, number: int) -> float:
        """The learning rate of a step."""
        spec = self.turn.spec
        return spec.lr * schedule.factor(spec.schedule, number - 1, self.total, spec.warmup)

    def _where(self, number: int) -> str:
        whose = f" in turn '{self.turn.name}'" if self.turn.name else ""
        return f"step {number} of {self.total}{whose}"


def take_turn(player: Player, players: list[Player]) -> None:
    """Let the parameters of one player take a gradient, and no other's."""
    for other in players:
        for parameter in other.params.values():
            parameter.requires_grad_(False)
    for parameter in player.params.values():
        parameter.requires_grad_(True)


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    auto = precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=auto or precision == "bfloat16")
