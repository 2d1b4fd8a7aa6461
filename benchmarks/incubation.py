"""Incubated and assembled against trained end to end, deep narrow vision transformers at equal training FLOPs.

Fashion-MNIST, a tenth of it and all of it, for as many steps; everything counts, the meta model, every part, the
validations. One learning rate for each depth and method, chosen on a tenth by the validation of a seed that is not
measured here, of as many tried for each. Beside them the control that trains no parts: copies of the meta model's
blocks, tuned for as many FLOPs.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from assembler.pipeline.state import Run
from benchmarks.lab import Lab, chain, end, lab, result, spent
from benchmarks.measure import Figure

RECIPE = """
kind: run
name: incubation
model:
  vars: {dim: 48, depth: 16}
  inputs: {image: [B, 1, 28, 28]}
  graph:
    embed: {op: patch_embed, patch_size: 7, out: =dim}
    position: learned_position
    stage:
      repeat: 4
      body:
        block:
          repeat: =depth // 4
          body:
            mix: {op: residual, body: {norm: layer_norm, token: {op: attention, num_heads: 4}}}
            mlp: {op: residual, body: {norm: layer_norm, ffn: {op: mlp, ratio: 2}}}
    norm: layer_norm
    pool: token_pool
    head: {op: linear, out: 10}
  outputs: {logits: head}
data: {name: fashion_mnist, train: 6000, validation: 2000}
split: [stage.*]
train: {batch: 64, lr: 2e-3, validate_every: 0}
phases:
  meta: {blocks: 1, train: {steps: 300}}
  incubate: {start: copies, train: {steps: 150}}
  search: {}
  assemble: {train: {steps: 467}}
  compare: {baselines: [end_to_end_total]}
"""
OURS, END_TO_END, COPIES, SOONER = "assembled", "end_to_end_total", "copies", "assembled, chain of 0.6"
END = "whole"
"""The phase that trains end to end."""
CHAIN = 0.6
"""How much of end to end's FLOPs the longest chain of `SOONER` takes: the time, where every part has a worker."""
DEPTHS, SHARES = (16, 32), {"10 %": 6000, "100 %": 58000}
RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
TUNING = 100  # the seed that learning rates are chosen with


@dataclass(frozen=True)
class Setting:
    """A depth and an amount of data."""

    depth: int
    samples: int

    def overrides(self, rate: float) -> tuple[str, ...]:
        """The changes of the recipe. Parts of a few blocks take twice the rate that the whole takes."""
        rates = f"train.lr={rate}", f"phases.incubate.train.lr={2 * rate}"
        return f"model.vars.depth={self.depth}", f"data.train={self.samples}", *rates


@dataclass(frozen=True)
class Budget:
    """End to end's steps and FLOPs; FLOPs of the meta model, the longest chain, the tuning and a step of it."""

    steps: int
    total: float
    meta: float
    chain: float
    whole: float
    step: float


@dataclass
class Found:
    """Test accuracies by method, one a seed, and the FLOPs of the longest chain relative to end to end."""

    chain: float
    accuracy: dict[str, list[float]] = field(default_factory=dict)
    before: list[float] = field(default_factory=list)


def figures(quick: bool) -> list[Figure]:
    """Accuracy of each method for every depth and amount of data, and the longest chain of FLOPs."""
    return at((8,), range(1)) if quick else at(DEPTHS, range(3))


def at(depths: Sequence[int], seeds: Sequence[int]) -> list[Figure]:
    """The figures of some depths."""
    rows: list[Figure] = []
    with lab() as ours:
        for depth in depths:
            budget = spending(ours, least := Setting(depth, min(SHARES.values())))
            best = tuned(ours, least, budget)
            for name, samples in SHARES.items():
                found = compared(ours, Setting(depth, samples), best, seeds, budget)
                rows += rows_of(f"{depth} blocks, {name}", found)
    return rows


def spending(ours: Lab, setting: Setting) -> Budget:
    """What incubating and assembling costs at a depth, whatever the seed and the rates."""
    run = ours.run(RECIPE, *setting.overrides(1e-3), seed=TUNING)
    whole, compared_ = result(run, made := end(run, OURS)), end(run, END_TO_END)
    return Budget(
        result(run, compared_)["steps"],
        spent(run, [compared_]),
        spent(run, [end(run, "meta")]),
        chain(run, made),
        whole["train_flops"],
        whole["train_flops"] / whole["steps"],
    )


def compared(ours: Lab, setting: Setting, best: Mapping[str, float], seeds: Sequence[int], budget: Budget) -> Found:
    """All methods, each with the learning rate that was best for it."""
    found = Found(chain=budget.chain / budget.total)
    for seed in seeds:
        for method, rate in {**best, SOONER: best[OURS]}.items():
            run = trained(ours, setting, method, rate, seed, budget)
            found.accuracy.setdefault(method, []).extend(ours.tests([made := end(run, _model(method))]))
            if method == OURS:
                found.before.append(result(run, made)["before"])
    return found


def tuned(ours: Lab, setting: Setting, budget: Budget) -> dict[str, float]:
    """The learning rate of each method that validates best."""
    best: dict[str, tuple[float, float]] = {}
    for rate in RATES:
        for method in (OURS, END_TO_END, COPIES):
            run = trained(ours, setting, method, rate, TUNING, budget)
            worth = float(result(run, end(run, _model(method)))["validation"])
            best[method] = max(best.get(method, (-1.0, 0.0)), (worth, rate))
    return {method: rate for method, (_, rate) in best.items()}


def trained(ours: Lab, setting: Setting, method: str, rate: float, seed: int, budget: Budget) -> Run:
    """The run of a method. The control trains no parts: what the meta model leaves of all FLOPs goes to the whole."""
    changes = [*setting.overrides(rate), "phases.compare=null"]
    if method == END_TO_END:
        changes += [f"phases.{name}=null" for name in ("meta", "incubate", "search", "assemble")]
        changes += [f"phases.{END}={{phase: train, train: {{steps: {budget.steps}, validate_every: 1}}}}"]
    if method == COPIES:
        changes += ["phases.incubate.train.epochs=0", "phases.incubate.train.steps=null"]
        changes += [f"phases.assemble.train.steps={round((budget.total - budget.meta) / budget.step)}"]
    if method == SOONER:
        left = CHAIN * budget.total - (budget.chain - budget.whole)
        changes += [f"phases.assemble.train.steps={round(left / budget.step)}"]
    return ours.run(RECIPE, *changes, seed=seed)


def _model(method: str) -> str:
    return END if method == END_TO_END else OURS


def rows_of(setting: str, found: Found) -> Iterator[Figure]:
    """The figures of one setting."""
    means = {method: 100 * statistics.fmean(values) for method, values in found.accuracy.items()}
    base = means[END_TO_END]
    for method, values in found.accuracy.items():
        goal = f">= {END_TO_END}" if method in (OURS, SOONER) else "reported"
        holds = means[method] >= base if method in (OURS, SOONER) else True
        yield Figure(
            f"{setting}: {method}, test %", means[method], goal, holds, END_TO_END, _deviation(values), len(values)
        )
    before = 100 * statistics.fmean(found.before)
    yield Figure(
        f"{setting}: assembled, before tuning, validation %", before, "reported", True, "", 0.0, len(found.before)
    )
    yield Figure(f"{setting}: longest chain / end to end, FLOPs", found.chain, "reported", True, END_TO_END, 0.0)


def _deviation(values: Sequence[float]) -> float:
    return 100 * statistics.stdev(values) if len(values) > 1 else 0.0
