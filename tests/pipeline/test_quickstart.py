"""The README's first command as a newcomer runs it: whole, three seeds, in a fresh parts store, and again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import assembler as asm


@pytest.mark.slow
def test_the_quickstart_takes_minutes_and_then_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    start = time.monotonic()
    folder, first = asm.run("quickstart", workers=2)
    whole = time.monotonic() - start
    start = time.monotonic()
    _, second = asm.run("quickstart", workers=2)
    again = time.monotonic() - start
    timed = ("time", "wall_seconds")
    assert {k: v for k, v in first.items() if k not in timed} == {k: v for k, v in second.items() if k not in timed}
    assert first["seeds"] == [0, 1, 2] and not first["failures"]
    assert first["result"]["params"] <= first["search"]["budget"]["params"]
    assert {"report.html", "model.py", "model.safetensors", "model.pt2"} <= {f.name for f in folder.iterdir()}
    assert whole <= 180 and again <= 20
