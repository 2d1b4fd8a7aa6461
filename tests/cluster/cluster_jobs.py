"""Short work for workers anywhere: tasks that write a file, objectives on built models and on choices."""

from __future__ import annotations

import os
import time
from typing import Any

from assembler.assemble.job import Job
from assembler.assemble.task import Task, task
from assembler.compile.model import Compiled
from assembler.recipe.choices import Choice, Decision, Space

RECIPE = """
kind: model
name: short
inputs: {x: [B, 4]}
graph:
  a: {op: linear, out: {$int: [1, 32]}}
  b: {op: linear, out: {$int: [1, 32]}}
  c: {op: linear, out: 2}
"""
SPACE = Space(tuple(Decision(f"slot.{i}", "oneof", tuple("abcdefgh")) for i in range(4)))


def add(job: Job) -> dict[str, Any]:
    """Its own value and the sum of those that it needs, in a file."""
    time.sleep(job.inputs["seconds"])
    total = job.inputs["value"] + sum(int(n.file("total.txt").read_text()) for n in job.needs.values())
    (job.out / "total.txt").write_text(str(total))
    return {"total": total, "home": os.environ.get("ASSEMBLER_HOME", "")}


def make(value: int, seconds: float, **needs: Task) -> Task:
    """An `add` task."""
    inputs = {"value": value, "seconds": seconds}
    return task("cluster_jobs:add", inputs, needs, label=f"add {value}", phase="test")


def size(model: Compiled) -> float:
    """The number of parameters, after a moment."""
    time.sleep(0.02)
    return -float(sum(p.numel() for p in model.parameters()))


def worth(choice: Choice) -> float:
    """The share of slots at their last candidate, after a moment."""
    time.sleep(0.05)
    return sum(v == 7 for v in choice.values()) / len(choice)
