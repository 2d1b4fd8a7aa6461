"""Every recipe and command of docs/data.md runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import assembler as asm
from assembler.cli.app import app
from assembler.registry import catalog

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
RUNS = [name for name, text in FILES.items() if text.startswith("kind: run") and name != "gcn.yaml"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    for name, text in FILES.items():
        Path(name).write_text(text)
    random = np.random.RandomState(0)
    x, y = random.rand(48, 8, 8).astype(np.float32), random.randint(0, 3, (48, 8, 8))
    np.savez("maps.npz", x_train=x, y_train=y, x_test=x[:16], y_test=y[:16])
    Path("letters.txt").write_text("the quick brown fox jumps over the lazy dog. " * 20)
    yield tmp_path
    catalog._plugins.clear()
    catalog._index.cache_clear()
    catalog.find.cache_clear()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_works(command: str) -> None:
    found = CliRunner().invoke(app, shlex.split(command.replace("\\\n", " "))[1:])
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize("name", RUNS)
def test_the_run_trains(name: str) -> None:
    assert asm.plan(name).unchecked == ""
    _, summary = asm.run(name, workers=1)
    assert not summary["failures"]


def test_every_section_is_run() -> None:
    assert len(COMMANDS) == 2 and len(RUNS) == 5
