"""The test split is read for the final table and by nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tiny_runs import changed, run_tiny

import assembler
from assembler.registry import add_plugin

PACKAGE = Path(assembler.__file__).parent


def test_only_the_test_job_loads_the_test_split() -> None:
    users = set()
    for file in PACKAGE.rglob("*.py"):
        for top in ast.parse(file.read_text()).body:
            calls = [n for n in ast.walk(top) if isinstance(n, ast.Call)]
            names = {getattr(c.func, "id", getattr(c.func, "attr", "")) for c in calls}
            if "load_test" in names:
                users.add((file.relative_to(PACKAGE).as_posix(), getattr(top, "name", "")))
    claims = {
        ("pipeline/claims/jobs.py", "assess"),
        ("pipeline/claims/exact.py", "_samples"),
    }  # nothing is chosen there
    contract = {("testing/dataset.py", "DatasetContract")}  # which looks at data, and at no model
    assert users == {("pipeline/jobs.py", "test")} | claims | contract


def test_wrong_test_labels_change_the_table_and_no_choice(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_plugin(Path(__file__).parent / "split_data.py")
    monkeypatch.setenv("TEST_LABELS", str(places / "turned"))
    text = changed(("{name: blobs, train: 96, validation: 48, test: 48, size: 6}", "{name: guarded}"))
    quick = ("seeds=[0]", "phases.export.formats=[safetensors]")
    right = run_tiny(*quick, home=places / "home", text=text)
    (places / "turned").touch()
    monkeypatch.setenv("ASSEMBLER_HOME", str(places / "other"))
    wrong = run_tiny(*quick, home=places / "other", text=text)
    assert (wrong.folder / "model.safetensors").read_bytes() == (right.folder / "model.safetensors").read_bytes()
    for file in ("candidates.jsonl", "parts.jsonl"):
        drop = ("seconds", "key")
        rows = [[{k: v for k, v in r.items() if k not in drop} for r in run.rows(file)] for run in (right, wrong)]
        assert rows[0] == rows[1]
    left, other = right.summary, wrong.summary
    assert left["result"]["test"] > 0.5 > other["result"]["test"]
    assert [b["train_flops"] for b in left["baselines"]] == [b["train_flops"] for b in other["baselines"]]
    assert left["result"]["validation"] == other["result"]["validation"]
