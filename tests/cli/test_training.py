"""The verbs that train, on a tiny model: what they leave, what they reuse, how they fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from cli_case import DATA, last
from typer.testing import Result

Call = Callable[..., Result]


def test_run_then_again_then_report_and_export(call: Call, place: Path) -> None:
    first = call("run", "small.yaml", "--workers", "1", "--json")
    assert first.exit_code == 0, first.output
    found = last(first.stdout)
    folder = Path(found["folder"])
    assert found["recipe"] == "small" and found["result"]["test"] is not None
    assert json.loads((folder / "summary.json").read_text())["result"] == found["result"]
    assert "[incubate 2/2] mid " in first.stderr
    assert "assembled and tuned" in first.stdout and f"folder  {folder}" in first.stdout

    again = call("run", "small.yaml", "--workers", "1", "--json")
    lines = again.stderr.splitlines()
    phases = {"teacher": 1, "incubate": 2, "search": 3, "assemble": 1, "test": 2}
    reused = [f"[{phase}] {count} reused" for phase, count in phases.items()]
    assert sorted(line for line in lines if not line.startswith("[search ")) == sorted(reused)
    assert len(lines) > len(reused)  # the trials of the search are told again, and not validated again
    assert last(again.stdout)["result"] == found["result"]

    (folder / "report.html").unlink()
    assert call("report", folder).exit_code == 0
    assert (folder / "report.html").is_file()
    assert call("export", "small", "--format", "source", "--out", "out").exit_code == 0
    assert (place / "out" / "model.py").is_file()


def test_run_of_a_model_says_what_to_do_instead(call: Call) -> None:
    result = call("run", "tiny.yaml")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: 'tiny' is a model, and only a run can be run\n"
        "    hint: train it with `assembler train tiny.yaml --data digits`, or name it in a recipe of kind run\n"
    )


def test_a_run_that_fails_ends_with_1_and_the_reason(call: Call) -> None:
    result = call("run", "small.yaml", "-o", "train.lr=1e30", "-o", "train.steps=20", "-o", "train.clip=null", "--json")
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert "nan" in last(result.stdout)["error"][0]["message"]


def test_a_run_of_which_one_model_fails_reports_the_others_and_ends_with_1(call: Call) -> None:
    failing = "phases.wild={phase: tune, of: teacher, train: {lr: 1e30, steps: 20, clip: null}}"
    result = call("run", "small.yaml", "-o", failing, "-o", "phases.tuned={phase: tune, of: teacher}", "--json")
    assert result.exit_code == 1
    found = last(result.stdout)
    assert found["models"]["wild"]["test"] is None and found["models"]["tuned"]["test"] is not None
    assert "failed: wild: the loss of small is nan" in result.stdout
    assert f"report  {Path(found['folder']) / 'report.html'}" in result.stdout


def test_train_prints_scores_and_writes_a_model_that_builds(call: Call, place: Path) -> None:
    result = call("train", "tiny.yaml", "--data", DATA, "--steps", "2", "--test", "--out", "trained", "--json")
    assert result.exit_code == 0, result.output
    found = last(result.stdout)
    assert found["steps"] == 2 and 0 <= found["test"] <= 1
    names = {f.name for f in (place / "trained").iterdir()}
    assert names == {"model.safetensors", "config.json", "graph.txt", "recipe.lock.yaml", "metrics.jsonl"}
    assert call("build", "trained/recipe.lock.yaml", "-w", "trained/model.safetensors").exit_code == 0
    assert call("export", "trained", "--format", "source").exit_code == 0


def test_train_twice_trains_once(call: Call) -> None:
    words = ("train", "tiny.yaml", "--data", DATA, "--train", "{steps: 2, optimizer: sgd}")
    assert "[train 1/1] tiny: " in call(*words).stderr
    assert call(*words).stderr == "[train] 1 reused\n"


def test_train_says_what_is_wrong_with_settings(call: Call) -> None:
    result = call("train", "tiny.yaml", "--data", DATA, "--train", "{epoch: 2}")
    assert result.exit_code == 2
    assert result.stderr == ("train: error: 'training' has no setting 'epoch'\n    hint: did you mean 'epochs'?\n")


def test_search_ranks_candidates_and_writes_the_best_recipe(call: Call, place: Path) -> None:
    result = call("search", "choices.yaml", "--budget", "params=60", "--json", "--out", "found")
    assert result.exit_code == 0, result.output
    found = last(result.stdout)
    assert found["states"]["complete"] == 2 and found["states"]["infeasible"] == 1
    assert "infeasible: params 95 > 60" in result.stdout
    rows = [json.loads(line) for line in (place / "found" / "candidates.jsonl").read_text().splitlines()]
    assert max(r["score"] for r in rows if r["feasible"]) == found["best"]["score"]
    assert last(call("plan", "found/best.yaml", "--json").stdout)["params"] == found["best"]["params"]


def test_search_without_data_or_choices(call: Call) -> None:
    open_width = ("-o", "graph.head.out={$int: [10, 11]}")
    assert "'search' needs 'data': its candidates are trained" in call("search", "tiny.yaml", *open_width).stderr
    result = call("search", "tiny.yaml", "--data", "digits")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: 'tiny' has no open choices to search")


def test_parts_of_a_store(call: Call, place: Path) -> None:
    call("train", "tiny.yaml", "--data", DATA, "--steps", "1")
    listed = last(call("parts", "ls", "--json").stdout)["products"]
    assert [p["label"] for p in listed] == ["tiny"]
    key = listed[0]["key"]
    assert last(call("parts", "show", key[:6], "--json").stdout)["key"] == key
    assert call("parts", "verify").stdout == "1 whole, 0 damaged\n"
    weights = next((place / "home").rglob("weights.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    damaged = call("parts", "verify", "--json")
    assert damaged.exit_code == 1 and last(damaged.stdout)["damaged"][0]["key"] == key

    assert call("parts", "show", "zz").exit_code == 2
    assert last(call("parts", "gc", "--keep-days", "1", "--json").stdout)["found"] == []
    assert "would remove 1 products" in call("parts", "gc", "--keep-days", "0").stdout
    assert call("parts", "gc", "--keep-days", "0", "--yes").exit_code == 0
    assert last(call("parts", "ls", "--json").stdout)["products"] == []
