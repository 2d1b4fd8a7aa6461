"""A store and a runs folder of its own for every test, and recipes small enough to train in a second."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from assembler.registry import catalog

sys.path.insert(0, str(Path(__file__).parent))

from cli_case import MODEL, ROOT, RUN, SPACE


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the recipes in it."""
    for name, text in (("tiny", MODEL), ("choices", SPACE), ("small", RUN)):
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("ASSEMBLER_DEBUG", raising=False)
    return tmp_path


@pytest.fixture(autouse=True)
def no_plugins_left() -> Iterator[None]:
    """A process has one list of plug-ins, which only grows."""
    yield
    catalog._plugins.clear()
    catalog._index.cache_clear()
    catalog.find.cache_clear()


@pytest.fixture
def call() -> Callable[..., Result]:
    """Calls the command line in this process."""
    from assembler.cli.app import app

    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def spawn() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Calls the command line in a process of its own."""

    def run(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "cli.py"), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, timeout=120)

    return run
