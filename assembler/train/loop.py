"""The training loop: flat, the same for a whole model, a part inside a host and a student with its teacher."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from assembler.errors import TrainingError
from assembler.train import diagnose, optimizers, schedule
from assembler.train.data.batches import Batches
from assembler.train.device import seed_all
from assembler.train.evaluate import Forward
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a training run tells and asks its caller.

    `progress(step, steps, info)` is called at most ten times a second, and at the end; `log(record)` once an epoch;
    `validate()` returns the score of the model as it is, with every module put back into the mode that it was in.
    """

    progress: Callable[[int, int, Record], None] | None = None
    log: Callable[[Record], None] | None = None
    validate: Callable[[], float] | None = None


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a run did: steps, samples seen, seconds, mean loss of its last epoch, last validation score, log records."""

    steps: int
    samples: int
    seconds: float
    loss: float
    validation: float | None
    history: tuple[Record, ...]


def fit(
    forward: Forward,
    batches: Batches,
    objective: Objective,
    params: Mapping[str, nn.Parameter],
    spec: FitSpec,
    hooks: Hooks | None = None,
) -> FitResult:
    """Train `params`, by recipe path, on `objective` of the batch and the values that `forward(batch)` returns.

    Only `params` are stepped; the caller freezes the rest, moves the modules to the batches' device and sets their
    modes. torch is seeded with the batches' seed for the run and put back after it, so that on a CPU with one thread
    the same start gives the same bits. Raises TrainingError where the loss or its gradient is no longer finite.
    """
    hooks, trained = hooks or Hooks(), {name: p for name, p in params.items() if p.requires_grad}
    if not trained:
        raise TrainingError("there is nothing to train: no parameter takes a gradient")
    device = next(iter(trained.values())).device
    optimizer = optimizers.build(spec.optimizer, trained, spec.lr, spec.weight_decay)
    total = spec.total_steps(len(batches))
    ledger = _Ledger(spec, hooks, total, len(batches))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_all(batches.seed)
        for step, batch in enumerate(batches.take(total), start=1):
            lr = spec.lr * schedule.factor(spec.schedule, step - 1, total, spec.warmup)
            for group in optimizer.param_groups:
                group["lr"] = lr
            with _autocast(device, spec.precision):
                values = {**batch, **forward(batch)}
            loss, terms = objective(values)
            if not loss.requires_grad:
                raise TrainingError("no trained parameter has a part in the objective", hint=_reads(objective))
            if not diagnose.finite(loss):
                raise diagnose.bad_loss(f"step {step} of {total}", loss, terms, values, trained, lr)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if spec.clip is not None:
                norm = nn.utils.clip_grad_norm_(trained.values(), spec.clip)
                if not diagnose.finite(norm):
                    raise diagnose.bad_gradient(f"step {step} of {total}", trained, lr)
            optimizer.step()
            ledger.enter(step, lr, loss.detach(), terms, len(next(iter(batch.values()))))
    return ledger.result()


@dataclass
class _Ledger:
    """Sums of the epoch under way, and what has been logged."""

    spec: FitSpec
    hooks: Hooks
    total: int
    per_epoch: int
    start: float = field(default_factory=time.monotonic)
    told: float = 0.0
    steps: int = 0
    samples: int = 0
    seen: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    history: list[Record] = field(default_factory=list)

    def enter(self, step: int, lr: float, loss: Tensor, terms: Mapping[str, Tensor], size: int) -> None:
        named = {"loss": loss, **{f"loss.{name}": term for name, term in terms.items() if len(terms) > 1}}
        for name, tensor in named.items():
            self.sums[name] = self.sums.get(name, 0) + tensor * size
        self.steps, self.seen, self.samples = step, self.seen + size, self.samples + size
        ends = step % self.per_epoch == 0 or step == self.total
        self._tell(step, lr, loss)
        if ends:
            self._close(step, lr)

    def _tell(self, step: int, lr: float, loss: Tensor) -> None:
        now = time.monotonic()
        if self.hooks.progress and (now - self.told >= 0.1 or step == self.total):
            self.told = now
            self.hooks.progress(step, self.total, {"epoch": self._epoch(step), "loss": loss.item(), "lr": lr})

    def _close(self, step: int, lr: float) -> None:
        means = {name: (tensor / self.seen).item() for name, tensor in self.sums.items()}
        record: Record = {"epoch": self._epoch(step), "step": step, "lr": lr, **means}
        every = self.spec.validate_every
        due = step == self.total or (every and step // self.per_epoch % every == 0)
        if self.hooks.validate and due:
            record["validation"] = self.hooks.validate()
        self.history.append(record)
        self.seen, self.sums = 0, {}
        if self.hooks.log:
            self.hooks.log(record)

    def _epoch(self, step: int) -> float:
        epoch = round(step / self.per_epoch, 4)
        return int(epoch) if epoch.is_integer() else epoch

    def result(self) -> FitResult:
        last, seconds = self.history[-1], time.monotonic() - self.start
        return FitResult(self.steps, self.samples, seconds, last["loss"], last.get("validation"), tuple(self.history))


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    auto = precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=auto or precision == "bfloat16")


def _reads(objective: Objective) -> str:
    return "it reads " + ", ".join(sorted(objective.needs))
