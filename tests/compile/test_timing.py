"""The time of each step: all of them, in order, with their places, and the slow one slowest."""

from __future__ import annotations

from pathlib import Path

import assembler as asm
from assembler.compile.timing import timings

MODEL = """\
kind: model
name: uneven
inputs: {x: [B, 64]}
graph:
  a: {op: linear, out: 64}
  b: {op: relu, inplace: true}
  slow: {op: linear, out: 8192}
  last: {op: linear, out: 4}
  fine: softplus
outputs: {y: fine}
"""


def test_every_step_is_timed_and_the_slow_one_is_slowest(tmp_path: Path) -> None:
    file = tmp_path / "uneven.yaml"
    file.write_text(MODEL)
    found = timings(asm.graph(file), repeats=3)
    assert [(t.path, t.op, t.span.line) for t in found] == [
        ("a", "linear", 5),
        ("b", "relu", 6),
        ("slow", "linear", 7),
        ("last", "linear", 8),
        ("fine", "softplus", 9),
    ]
    assert max(found, key=lambda t: t.both).path == "slow"
    assert all(t.forward > 0 and t.both > 0 for t in found)
    assert found[2].both > found[2].forward


INNER = "  inner: {body: {shift: {op: stored, shape: [1, 8192]}, sum: {op: add, from: [shift, input]}}}\n"


def test_a_weight_that_lies_in_a_container_is_timed_like_any_step(tmp_path: Path) -> None:
    file = tmp_path / "inside.yaml"
    file.write_text(MODEL.replace("  last:", f"{INNER}  last:"))
    found = {t.path: t for t in timings(asm.graph(file), repeats=3)}
    assert found["inner.shift"].op == "stored" and found["inner.shift"].both > 0
    assert found["inner.sum"].both > found["inner.sum"].forward > 0
