"""Incubated and assembled against trained end to end, deep narrow vision transformers at equal training FLOPs.

Fashion-MNIST, a tenth of it and all of it, for as many steps; everything counts, the meta model, every part, the
validations. One learning rate for each depth and method, chosen by the validation of a seed that is not measured here,
of as many tried for each. Beside them the control that trains no parts: copies of the meta model's blocks, tuned for
as many FLOPs.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from assembler.pipeline.state import Run
from benchmarks.lab import Lab, home, lab, product, spent
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
  meta: {blocks: 1, train: {steps: 600}}
  incubate: {start: copies, train: {steps: 100}}
  search: {}
  assemble: {train: {steps: 500}}
  compare: {baselines: [end_to_end_total]}
"""
OURS, END_TO_END, COPIES = "assembled", "end_to_end_total", "copies"
DEPTHS, SHARES = (16, 32, 64), {"10 %": 6000, "100 %": 58000}
RATES = (1e-3, 2e-3, 4e-3)
TUNING = 100  # the seed that learning rates are chosen with


@dataclass(frozen=True)
class Setting:
    """A depth and an amount of data."""

    depth: int
    samples: int

    def overrides(self, rate: float) -> tuple[str, ...]:
        """The changes of the recipe."""
        return f"model.vars.depth={self.depth}", f"data.train={self.samples}", f"train.lr={rate}"


@dataclass
class Found:
    """Test accuracies by method, one a seed, and the FLOPs of the longest chain relative to end to end."""

    accuracy: dict[str, list[float]] = field(default_factory=dict)
    before: list[float] = field(default_factory=list)
    chain: list[float] = field(default_factory=list)


def figures(quick: bool) -> list[Figure]:
    """Accuracy of each method for every depth and amount of data, and the longest chain of FLOPs."""
    depths, seeds = ((8,), range(1)) if quick else (DEPTHS, range(3))
    rows: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= home(folder)
        with lab() as ours:
            for depth in depths:
                for name, samples in SHARES.items():
                    found = compared(ours, Setting(depth, samples), seeds)
                    rows += rows_of(f"{depth} blocks, {name}", found)
    return rows


def compared(ours: Lab, setting: Setting, seeds: Sequence[int]) -> Found:
    """All methods with the learning rates that were best for each."""
    best = tuned(ours, setting)
    found = Found()
    for seed in seeds:
        for method, rate in best.items():
            run = trained(ours, setting, method, rate, seed)
            found.accuracy.setdefault(method, []).append(ours.test(run, _model(method)))
            if method == OURS:
                found.before.append(product(run, OURS).result["before"])
                found.chain.append(spent(run, OURS, longest=True) / spent(run, END_TO_END))
    return found


def tuned(ours: Lab, setting: Setting) -> dict[str, float]:
    """The learning rate of each method that validates best."""
    best: dict[str, tuple[float, float]] = {}
    for rate in RATES:
        for method in (OURS, END_TO_END, COPIES):
            run = trained(ours, setting, method, rate, TUNING)
            worth = float(product(run, _model(method)).result["validation"])
            best[method] = max(best.get(method, (-1.0, 0.0)), (worth, rate))
    return {method: rate for method, (_, rate) in best.items()}


def trained(ours: Lab, setting: Setting, method: str, rate: float, seed: int) -> Run:
    """The run of a method. The control trains no parts: what the meta model leaves of all FLOPs goes to the whole."""
    changes = setting.overrides(rate)
    run = ours.run(RECIPE, *changes, seed=seed)
    if method != COPIES:
        return run
    whole = product(run, OURS).result
    steps = round((spent(run, END_TO_END) - spent(run, "meta")) * whole["steps"] / whole["train_flops"])
    idle = "phases.incubate.train.epochs=0", "phases.incubate.train.steps=null"
    return ours.run(RECIPE, *changes, *idle, f"phases.assemble.train.steps={steps}", seed=seed)


def _model(method: str) -> str:
    return OURS if method == COPIES else method


def rows_of(setting: str, found: Found) -> Iterator[Figure]:
    """The figures of one setting."""
    means = {method: 100 * statistics.fmean(values) for method, values in found.accuracy.items()}
    base = means[END_TO_END]
    for method, values in found.accuracy.items():
        goal = f">= {END_TO_END}" if method == OURS else "reported"
        holds = means[OURS] >= base if method == OURS else True
        yield Figure(
            f"{setting}: {method}, test %", means[method], goal, holds, END_TO_END, _deviation(values), len(values)
        )
    before = 100 * statistics.fmean(found.before)
    yield Figure(
        f"{setting}: assembled, before tuning, validation %", before, "reported", True, "", 0.0, len(found.before)
    )
    chain = statistics.fmean(found.chain)
    yield Figure(f"{setting}: longest chain / end to end, FLOPs", chain, "<= 0.6", chain <= 0.6, END_TO_END, 0.0)


def _deviation(values: Sequence[float]) -> float:
    return 100 * statistics.stdev(values) if len(values) > 1 else 0.0
