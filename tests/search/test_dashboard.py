"""optuna-dashboard opens the studies that we write (the extra `dash`)."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

import assembler as asm
from assembler.recipe.document import parse
from assembler.search.command import Command, give
from assembler.search.storage import load_study

optuna_dashboard = pytest.importorskip("optuna_dashboard")
get_storage = pytest.importorskip("optuna_dashboard._storage_url").get_storage
NET = """
kind: model
name: net
inputs: {x: [B, 4]}
vars: {dim: {$oneof: [2, 4, 8]}, drop: {$float: [0.0, 0.5]}, order: {$permutate: [1, 2]}}
graph:
  mid: {op: linear, out: =dim}
  act: {$oneof: [relu, gelu]}
  drop: {op: dropout, p: =drop}
  head: {op: linear, out: 3}
moves: {most: 1, of: [deepen]}
"""


def get(app: Any, path: str) -> Any:
    """The JSON that a WSGI application answers a GET with."""
    said: list[str] = []
    environment = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "here",
                   "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(),
                   "wsgi.errors": io.StringIO(), "REMOTE_ADDR": "127.0.0.1"}  # fmt: skip
    body = b"".join(app(environment, lambda status, *_: said.append(status)))
    assert said[0].startswith("200"), (said, body)
    return json.loads(body)


def score(model: Any) -> tuple[float, float]:
    """Something for two objectives, and a failure now and then."""
    size = sum(p.numel() for p in model.parameters())
    if size > 60:
        raise ValueError("too large")
    return float(size), -float(size)


def test_the_dashboard_shows_trials_choices_and_values(tmp_path: Path) -> None:
    url = f"journal:///{tmp_path}/study.log"
    found = asm.search(parse(NET), score, sampler="random", trials=8, storage=url, study="mine",
                       direction=["maximize", "minimize"])  # fmt: skip
    log = load_study(url, "mine")
    give(log, Command(enqueue=({"act": "gelu"},), ban=({"act": "relu"},), trials=9))
    app = optuna_dashboard.wsgi(get_storage(str(tmp_path / "study.log")))  # as the command does
    [listed] = get(app, "/api/studies")["study_summaries"]
    assert (listed["study_name"], listed["directions"]) == ("mine", ["maximize", "minimize"])
    shown = get(app, f"/api/studies/{listed['study_id']}")
    assert len(shown["trials"]) == len(found.trials) + 1, "all of ours, and the one that waits"
    states = {"complete": "Complete", "failed": "Fail", "infeasible": "Pruned"}
    for trial, there in zip(found.trials, shown["trials"], strict=False):
        picked = {one["name"]: one["param_external_value"] for one in there["params"]}
        assert picked["act"] == trial.labels["act"] and picked["vars.dim"] == trial.labels["vars.dim"]
        if trial.state in states:
            assert there["state"] == states[trial.state]
        if trial.values:
            assert [float(v) for v in there["values"]] == list(trial.values)
    assert {t.state for t in found.trials} >= {"complete", "failed"}
