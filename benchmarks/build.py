"""ViT-Ti from its recipe to a module against constructors, and its plan against building it."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from transformers import ViTConfig, ViTForImageClassification

import assembler
from benchmarks import peers
from benchmarks.measure import Figure, ratios, spread

BUILD, PLAN = 1.2, 0.5
_TINY = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768}


def figures(quick: bool) -> list[Figure]:
    """Ratios of CPU times in one process.

    Building reads the recipe, infers shapes, draws weights and generates code. What it found of a step's shapes before
    is kept in a process, so plan and build are held against each other with an image size that is new each time.
    """
    torch.set_num_threads(1)
    runs = 7 if quick else 41
    build = _timed(lambda: assembler.build("vit_ti"))
    by_hand, other = _timed(peers.ViTTiny), _timed(_transformers)
    new = itertools.count(224, 16)
    fresh = _timed(lambda: assembler.build("vit_ti", f"vars.size={next(new)}"))
    plan = _timed(lambda: assembler.plan("vit_ti", f"vars.size={next(new)}"))
    for call in (build, by_hand, other, fresh, plan):
        call()
    library = f"transformers {transformers.__version__}"
    return [
        _figure("ViT-Ti: recipe to module / constructor by hand", ratios(build, by_hand, runs), BUILD, "plain torch"),
        _figure("ViT-Ti: recipe to module / transformers'", ratios(build, other, runs), BUILD, library),
        _figure("ViT-Ti of a new size: plan / build", ratios(plan, fresh, runs), PLAN, "assembler build"),
    ]  # fmt: skip


def _transformers() -> Any:
    return ViTForImageClassification(ViTConfig(**_TINY, num_labels=1000))


def _figure(name: str, values: Sequence[float], goal: float, peer: str) -> Figure:
    value = statistics.median(values)
    return Figure(name, value, f"<= {goal}", value <= goal, peer, spread(values))


def _timed(call: Callable[[], Any]) -> Callable[[], float]:
    def run() -> float:
        start = time.process_time()
        made = call()
        seconds = time.process_time() - start
        del made
        return seconds

    return run
