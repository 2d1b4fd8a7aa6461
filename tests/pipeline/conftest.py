"""One finished tiny run that many tests look at, and a store and runs folder of its own for every test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from tiny_runs import Done, run_tiny  # noqa: E402 - found beside this file


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Store and run folders below the test's own folder."""
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    return tmp_path


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """The tiny run, finished once with two workers. Its store must not be written to: copy it."""
    place = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSEMBLER_HOME", str(place / "home"))
        patch.setenv("ASSEMBLER_RUNS", str(place / "runs"))
        yield run_tiny(home=place / "home", workers=2)
