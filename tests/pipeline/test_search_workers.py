"""Searches with several worker processes: faults of single trials, the same results, steering from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import assembler as asm
from assembler.cli.app import app
from assembler.errors import InputError
from assembler.recipe.document import parse

sys.path.insert(0, str(Path(__file__).parent))

from scored import RECIPE, faults, size

MODEL = """
kind: model
inputs: {image: [B, 1, 8, 8]}
graph:
  flat: flatten
  mid: {op: linear, out: 2}
  head: {op: linear, out: 10}
"""
LITTLE = """
kind: space
base: model.yaml
choose:
  mid.out: {$oneof: [2, 3, 4, 5, 6]}
search: {data: digits, sampler: grid, trials: 4, train: {steps: 2}}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.yaml").write_text(MODEL)
    return tmp_path


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_every_fault_of_a_trial_is_its_own(tmp_path: Path) -> None:
    url = f"journal:///{tmp_path}/s.log"
    found = asm.search(parse(RECIPE), faults, sampler="grid", trials=12, workers=2, timeout=1.5, storage=url)
    reasons = {t.labels["a.out"]: (t.state, t.reason) for t in found.trials}
    assert reasons.pop("1")[1].startswith("ValueError: one is too few (scored.py:")
    assert reasons.pop("6")[1].startswith("MemoryError: out of memory (scored.py:")
    failed = {
        "2": "it took longer than 1.5 s and was ended",
        "3": "the value is nan",
        "4": "its worker died 3 times; the last time it exited with code 7",
        "5": "the objective gave 'five', which is no number",
    }
    assert {k: reasons.pop(k) for k in failed} == {k: ("failed", reason) for k, reason in failed.items()}
    assert set(reasons.values()) == {("complete", "")} and len(reasons) == 6
    assert found.evaluated == 12 and found.best is not None and found.best.labels == {"a.out": "12"}


def test_the_same_results_with_one_worker_and_with_two() -> None:
    alone = asm.search(parse(RECIPE), size, sampler="grid", trials=12)
    both = asm.search(parse(RECIPE), size, sampler="grid", trials=12, workers=2)
    assert {(t.number, t.value) for t in alone.trials} == {(t.number, t.value) for t in both.trials}


def test_an_objective_that_has_no_name_is_for_one_worker() -> None:
    with pytest.raises(InputError, match="the objective cannot be sent to worker processes: ") as error:
        asm.search(parse(RECIPE), lambda model: 0.0, workers=2)
    assert "hint: define it at the top of a module, or search with one worker" in str(error.value)


def test_a_search_is_looked_at_and_steered_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "little.yaml").write_text(LITTLE)
    first = call("search", "little.yaml", "--workers", "2", "--out", "found", "--trials", "2", "--json")
    assert first.exit_code == 0, first.output
    told = call("status", "found", "--json")
    data = json.loads(told.stdout.splitlines()[-1])
    assert (data["evaluated"], data["wanted"], data["states"], data["workers"]) == (2, 2, {"complete": 2}, [])
    assert "little: 2 of 2 evaluated (2 complete)" in told.stdout and "at work: nobody" in told.stdout

    steered = call("steer", "found", "--enqueue", "{mid.out: 6}", "--ban", "mid.out=4", "--trials", "4")
    assert steered.stdout.splitlines() == [
        "trial 2 is to be mid.out=6",
        "banned: mid.out=4",
        "it goes on up to 4 trials",
    ]
    again = call("search", "little.yaml", "--workers", "2", "--out", "found", "--trials", "2", "--json")
    assert json.loads(again.stdout.splitlines()[-1])["evaluated"] == 4, again.output
    rows = [json.loads(line) for line in (tmp_path / "found" / "candidates.jsonl").read_text().splitlines()]
    outcomes = {row["choice"]["mid.out"]: row["state"] for row in rows}
    assert outcomes == {"2": "complete", "3": "complete", "6": "complete", "4": "infeasible", "5": "complete"}

    wrong = call("steer", "found", "--ban", "mid.out=7")
    assert wrong.exit_code == 2 and "decision 'mid.out' cannot be '7'" in wrong.stderr
    assert (
        "there is no decision 'mid.ot'\n    hint: did you mean 'mid.out'?"
        in call("steer", "found", "--enqueue", "{mid.ot: 6}").stderr
    )
    assert "mid.out=5 is not banned\n    hint: bans: mid.out=4" in call("steer", "found", "--allow", "mid.out=5").stderr
    assert "nothing is to be done" in call("steer", "found").stderr


def test_a_study_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert (
        f"there is no study in journal:///{tmp_path}/no.log: no such file"
        in call("status", f"journal:///{tmp_path}/no.log").stderr
    )
    (tmp_path / "little.yaml").write_text(LITTLE)
    sqlite = call("search", "little.yaml", "--workers", "2", "--storage", "sqlite:///s.db")
    assert sqlite.exit_code == 2 and "SQLite is for one worker, not for 2: sqlite:///s.db" in sqlite.stderr
    assert "use journal:///s.log" in sqlite.stderr


def test_a_metric_that_is_not_there_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    goals = "objectives: {validaton: maximize, params: minimise}"
    (tmp_path / "little.yaml").write_text(LITTLE.replace("trials: 4", f"trials: 4, {goals}"))
    result = call("search", "little.yaml")
    assert result.exit_code == 2
    assert "there is no metric 'validaton'" in result.stderr and "did you mean 'validation'?" in result.stderr
    assert "'params' is to maximize or to minimize, not to 'minimise'" in result.stderr
