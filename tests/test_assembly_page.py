"""Every run of docs/assembly.md trains, and comes to what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import assembler as asm

PAGE = (Path(__file__).parents[1] / "docs" / "assembly.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))
RUNS = [name for name, text in FILES.items() if text.startswith("kind: run")]


@pytest.mark.parametrize("name", RUNS)
def test_the_run_trains(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    for file, text in FILES.items():
        Path(file).write_text(text)
    _, summary = asm.run(name, "train.epochs=0.2", workers=1)
    assert not summary["failures"] and summary["result"]["test"] is not None
