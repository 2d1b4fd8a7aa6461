"""`assembler bench`: which benches there are, what it prints, its exit codes, and that it needs a checkout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_case import last
from typer.testing import Result

from assembler import resources

Call = Callable[..., Result]
BENCH = """\
import sys
print("on the way", file=sys.stderr)
print({line!r} if sys.argv[1] == "fast" and sys.argv[2:] == ["--quick"] else "unlike what was asked")
"""


def checkout(folder: Path, *, holds: bool) -> dict[str, object]:
    """A checkout with one bench, `fast`, and the JSON object that it prints."""
    figure = {"name": "a / b", "value": 1.25, "goal": "<= 1.2", "holds": holds, "peer": "b", "spread": 0.01}
    data: dict[str, object] = {"bench": "fast", "figures": [figure], "versions": {}, "threads": 1}
    (folder / "benchmarks").mkdir()
    (folder / "pyproject.toml").write_text("")
    (folder / "benchmarks" / "__main__.py").write_text(BENCH.format(line=json.dumps(data)))
    (folder / "benchmarks" / "fast.py").write_text("\ndef figures(quick): ...\n")
    (folder / "benchmarks" / "helper.py").write_text("")
    return data


@pytest.mark.parametrize("holds", [True, False])
def test_a_table_then_a_line_of_json_and_1_where_a_goal_is_missed(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holds: bool
) -> None:
    data = checkout(tmp_path, holds=holds)
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "assembler")
    for options in ((), ("--json",)):
        result = call("bench", "fast", "--quick", *options)
        assert result.exit_code == (0 if holds else 1), result.output
        assert last(result.stdout) == data
        cells = ["a", "/", "b", "1.250", "0.010", "<=", "1.2", "yes" if holds else "no"]
        assert cells in [line.split() for line in result.stdout.splitlines()]


def test_a_bench_that_fails_is_told(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout(tmp_path, holds=True)
    (tmp_path / "benchmarks" / "__main__.py").write_text("raise SystemExit(3)")
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "assembler")
    result = call("bench", "fast", "--quick")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: the bench 'fast' failed\n    hint: what it said stands above\n"


def test_an_unknown_bench_has_the_nearest_names(call: Call) -> None:
    result = call("bench", "scales")
    assert result.exit_code == 2
    assert result.stderr == "error: there is no bench 'scales'\n    hint: did you mean 'scale'?\n"
    assert "benches: assembly, build, " in call("bench", "zzz").stderr


def test_an_installed_package_has_no_benches(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "assembler")
    result = call("bench", "scale")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: figures are measured in a checkout: benchmarks/ is no part of an installed package\n"
        "    hint: clone the repository, `make install`, and call its .venv/bin/assembler\n"
    )
