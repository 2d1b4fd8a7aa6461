"""Makes the jobs of these tests importable as `jobs`, here and in the workers, which get this process's path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside the store in which each job that runs leaves a mark."""
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv("TEST_MARKS", str(folder))
    return folder
