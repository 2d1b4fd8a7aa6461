"""Writes a plausible run folder: three seeds, three slots with six variants each, eighty candidates."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.text import to_text

SLOTS = ("stage.0", "stage.1", "stage.2")
VARIANTS = ("conv3", "conv5", "dwconv", "mixer", "attention", "narrow")
COST = {"conv3": 9200, "conv5": 21000, "dwconv": 2600, "mixer": 6400, "attention": 7900, "narrow": 1400}
GAIN = {"conv3": 0.03, "conv5": 0.034, "dwconv": 0.018, "mixer": 0.012, "attention": 0.024, "narrow": 0.0}
CHOICE = {"stage.0": "conv3", "stage.1": "dwconv", "stage.2": "attention"}
SEEDS = (0, 1, 2)
BUDGET = 24_000
PHASES = {"meta": 4.1e9, "teacher": 2.6e10, "incubate": 4.4e10, "search": 0, "assemble": 1.3e10, "compare": 1.6e11}
LOCK = """kind: run
name: quickstart
model:
  inputs: {image: [1, 8, 8]}
  steps:
    stem: {op: conv2d, out: 32, kernel_size: 3, padding: 1}
    stage:
      for: {w: [32, 48, 64]}
      body:
        mix: {op: residual, body: {norm: {op: batch_norm2d}, conv: {op: conv2d, out: =w, kernel_size: 3}}}
    head: {op: linear, out: 10}
"""


def winner() -> Graph:
    """A small residual network with three slots."""
    nodes: dict[str, Node] = {}
    names: dict[str, str] = {}

    def add(path: str, op: str, *sources: str, **args: Any) -> str:
        nodes[path] = Node(op, tuple(sorted(args.items())), tuple((str(n), s) for n, s in enumerate(sources)))
        return path

    last = add("stem.conv", "conv2d", "image", out=32, kernel_size=3, padding=1)
    last = names["stem"] = add("stem.act", "gelu", add("stem.norm", "batch_norm2d", last))
    last = add("stage.0.down", "conv2d", last, out=32, kernel_size=2, stride=2)
    for b in range(2):
        at = f"stage.0.block.{b}"
        inner = add(f"{at}.conv1", "conv2d", last, out=32, kernel_size=3, padding=1)
        inner = add(f"{at}.conv2", "conv2d", add(f"{at}.act", "gelu", inner), out=32, kernel_size=3, padding=1)
        last = add(at, "add", last, inner)
    names["stage.0"] = last
    at = "stage.1.mix"
    inner = add(f"{at}.pointwise", "conv2d", add(f"{at}.dw", "conv2d", last, groups=32, kernel_size=5), out=48)
    last = names["stage.1"] = add(at, "add", add("stage.1.proj", "conv2d", last, out=48, kernel_size=1), inner)
    last = add("stage.2.tokens", "rearrange", last, pattern="b c h w -> b (h w) c")
    at = "stage.2.mix"
    last = add(at, "add", last, add(f"{at}.attention", "attention", add(f"{at}.norm", "layer_norm", last), heads=4))
    at = "stage.2.feed"
    inner = add(f"{at}.mlp", "mlp", add(f"{at}.norm", "layer_norm", last), ratio=2.0, act="gelu")
    last = names["stage.2"] = add(at, "add", last, inner)
    last = add("pool", "global_pool", add("norm", "layer_norm", last))
    last = add("head", "linear", last, out=10)
    return Graph((("image", TensorType((1, 1, 8, 8))),), nodes, (("logits", last),), names, "quickstart")


def parts(rng: random.Random) -> list[dict[str, Any]]:
    """Eighteen variants under three seeds; two of them fail."""
    found = []
    for seed in SEEDS:
        for slot in SLOTS:
            for variant in VARIANTS:
                score = 0.88 + GAIN[variant] + rng.gauss(0, 0.006) - 0.004 * SLOTS.index(slot)
                row = {"seed": seed, "slot": slot, "variant": variant, "params": COST[variant],
                       "flops": COST[variant] * 40,
                       "loss": round(0.9 - score, 4) + 0.3, "score": round(score, 4),
                       "train_flops": COST[variant] * 9e4,
                       "seconds": 1.4, "status": "done", "reason": ""}  # fmt: skip
                if (seed, slot, variant) in ((1, "stage.2", "mixer"), (2, "stage.0", "conv5")):
                    row |= {"status": "failed", "score": None, "loss": None,
                            "reason": "loss is not finite at step 140, first in stage.2.mix.token"}  # fmt: skip
                found.append(row)
    return found


def candidates(rng: random.Random, number: int = 80) -> list[dict[str, Any]]:
    """Random assemblies over the seeds, the winner among them."""
    found = []
    for at in range(number):
        choice = CHOICE if at < 3 else {slot: rng.choice(VARIANTS) for slot in SLOTS}
        params = 2800 + sum(COST[v] for v in choice.values())
        estimate = sum(0.35 - GAIN[v] * 2 for v in choice.values()) + rng.gauss(0, 0.02)
        score = 0.80 + sum(GAIN[v] for v in choice.values()) * 1.6 + rng.gauss(0, 0.008) + 0.008 * (at < 3)
        feasible = params <= BUDGET
        found.append({"seed": at % 3, "number": at, "choice": choice, "params": params, "flops": params * 40,
                      "estimate": estimate, "score": score if at % 9 or at < 3 else None, "feasible": feasible,
                      "reason": "" if feasible else f"params {params:,} over the budget of {BUDGET:,}"})  # fmt: skip
    return found


def metrics(rng: random.Random) -> list[dict[str, Any]]:
    """Curves of every training."""
    labels = {"meta": ["meta"], "teacher": ["teacher"], "assemble": ["tune"],
              "incubate": [f"{s}={v}" for s in SLOTS for v in VARIANTS],
              "compare": ["same compute", "tune compute", "random assembly"]}  # fmt: skip
    found = []
    for phase, names in labels.items():
        for at, label in enumerate(names):
            for seed in SEEDS:
                top, start = rng.gauss(0.94 - 0.004 * at, 0.006), 0.82 if phase == "assemble" else 0.2
                for epoch in range(1, 21):
                    value = top - (top - start) * math.exp(-epoch / 4) + rng.gauss(0, 0.006)
                    row = {"task": f"{label}-{seed}", "phase": phase, "seed": seed, "label": label, "epoch": epoch,
                           "step": epoch * 22, "loss": 2.2 * math.exp(-epoch / 6), "lr": 1e-3}  # fmt: skip
                    found.append(row | ({} if phase == "incubate" else {"validation": value}))
    return found


def baseline(name: str, doc: str, scores: list[float], flops: float, wins: bool) -> dict[str, Any]:
    mean = sum(scores) / len(scores)
    return {"name": name, "doc": doc, "test_mean": mean, "test_std": 0.006, "test_per_seed": scores,
            "train_flops": flops, "wins": wins}  # fmt: skip


def summary() -> dict[str, Any]:
    """The summary of the run."""
    return {
        "recipe": "quickstart", "hash": "4f2a9c", "seeds": list(SEEDS), "device": "cpu",
        "doc": "Digits: train parts, search assemblies of them, tune the winner.",
        "cost": {"train_flops": PHASES}, "time": {"meta": 6.2, "teacher": 18.4, "incubate": 41.8, "search": 2.1,
                                                  "assemble": 12.9, "compare": 58.3, "export": 1.2},
        "result": {"metric": "accuracy", "test": 0.9417, "test_std": 0.0048, "test_per_seed": [0.9361, 0.9444, 0.9446],
                   "validation": 0.951, "before_tuning": 0.894, "params": 22_510, "flops": 812_000, "choice": CHOICE},
        "models": {"teacher": {"validation": 0.972, "test": 0.9639, "params": 64_300, "flops": 2_900_000},
                   "meta": {"validation": 0.903, "test": 0.892, "params": 11_200, "flops": 300_000}},
        "baselines": [
            baseline("end to end, same compute", "the winner's architecture, trained with all of the FLOPs above",
                     [0.9500, 0.9472, 0.9417], 8.71e10, True),
            baseline("end to end, tune compute", "the same, with the FLOPs of the tune phase alone",
                     [0.9083, 0.9167, 0.8972], 1.3e10, False),
            baseline("random assembly", "parts drawn at random within the budget, tuned alike",
                     [0.9194, 0.9306, 0.9111], 1.3e10, False)],
        "verdict": "The assembled model reaches 94.2 % with 35 % of the teacher's parameters; trained end to end "
                   "for the same compute, its architecture reaches 94.6 %, so that baseline wins.",
        "search": {"space_size": 216, "evaluated": 80, "best": 0.894, "sampler": "exact", "budget": {"params": BUDGET},
                   "seconds": 2.1, "pool": 24},
        "slots": [{"name": slot, "variants": list(VARIANTS)} for slot in SLOTS],
        "failures": [{"task": "incubate stage.2=mixer seed 1", "reason": "loss is not finite at step 140"}],
        "versions": {"assembler": "0.1.0", "torch": "2.13.0", "python": "3.11"},
    }  # fmt: skip


def lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make_run(folder: Path) -> Path:
    """Write the folder and return it."""
    rng = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary()), encoding="utf-8")
    (folder / "recipe.lock.yaml").write_text(LOCK, encoding="utf-8")
    (folder / "graph.txt").write_text(to_text(winner()), encoding="utf-8")
    lines(folder / "parts.jsonl", parts(rng))
    lines(folder / "candidates.jsonl", candidates(rng))
    lines(folder / "metrics.jsonl", metrics(rng))
    return folder
