"""Makes `make_run` importable beside the tests and gives them a run folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run folder with plausible contents."""
    from make_run import make_run

    return make_run(tmp_path / "20250101-120000-4f2a9c")
