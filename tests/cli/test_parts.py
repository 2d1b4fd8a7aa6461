"""What the parts store tells people: of one part, of where it came from, of ten thousand of them."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_case import MODEL, RUN, last
from typer.testing import CliRunner, Result

from assembler.assemble.store import Store

STEP = ("--steps", "1", "-o", "graph.head.out=10")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a small run and of a training."""
    from assembler.cli.app import app

    place = tmp_path_factory.mktemp("parts")
    (place / "tiny.yaml").write_text(MODEL)
    (place / "small.yaml").write_text(RUN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSEMBLER_HOME", str(place / "home"))
        patch.setenv("ASSEMBLER_RUNS", str(place / "runs"))
        for words in (["run", "small.yaml", "--workers", "1"], ["train", "tiny.yaml", "--data", "digits", *STEP]):
            words[1] = str(place / words[1])
            made = CliRunner().invoke(app, [*words, "--device", "cpu"])
            assert made.exit_code == 0, made.output
    return place / "home"


@pytest.fixture
def parts(call: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The parts in it, as `parts ls --json` tells them."""
    monkeypatch.setenv("ASSEMBLER_HOME", str(home))
    found: list[dict[str, Any]] = last(call("parts", "ls", "--kind", "part", "--json").stdout)["products"]
    return sorted(found, key=lambda p: str(p["label"]))  # those of one second are listed by key


def told(result: Result) -> dict[str, str]:
    """The lines of `parts show` by name."""
    assert result.exit_code == 0, result.output
    lines = (line.split(maxsplit=1) for line in result.stdout.splitlines()[1:])
    return {words[0]: words[1] for words in lines}


def test_a_part_says_what_it_is(call: Any, home: Path, parts: list[dict[str, Any]]) -> None:
    assert [(p["label"], p["recipe"], p["slot"]) for p in parts] == [
        ("mid dwconv", "small", "mid"),
        ("mid pool", "small", "mid"),
    ]
    key = parts[0]["key"]
    said = told(call("parts", "show", key[:8]))
    teacher = next(p for p in Store(home).products() if p.card["phase"] == "teacher")
    assert said["kind"] == "part for slot mid" and said["recipe"] == "small" and said["picks"] == "mid = dwconv"
    assert said["enters"] == "x float32[B, 4, 8, 8]" and said["leaves"] == "y float32[B, 4, 8, 8]"
    assert said["host"] == f"teacher of small, fingerprint {teacher.card['about']['fingerprint']}"
    assert said["data"].startswith("blobs, test=24, train=48, validation=24, fingerprint ")
    assert said["data"].endswith(", licence not said") and said["objective"] == "cross_entropy(logits, label)"
    assert (
        said["seed"] == "0" and said["start"] == "random" and said["cost"].startswith("40 parameters, 4.61 k FLOPs, ")
    )
    assert said["scores"].startswith("score 0.") and "torch" in said["versions"] and "reads" not in said
    card = last(call("parts", "show", key[:8], "--json").stdout)
    assert card["key"] == key and card["about"]["params"] == 40 and card["inputs"]["slot"] == "mid"


def test_a_licence_is_told_where_it_is_known(call: Any, parts: list[dict[str, Any]]) -> None:
    key = last(call("parts", "ls", "--run", "tiny", "--json").stdout)["products"][0]["key"]
    assert told(call("parts", "show", key))["data"].endswith(", licence CC BY 4.0")


def test_what_is_listed_can_be_narrowed(call: Any, parts: list[dict[str, Any]]) -> None:
    def listed(*words: str) -> list[str]:
        return sorted(p["label"] for p in last(call("parts", "ls", *words, "--json").stdout)["products"])

    assert listed("--slot", "m*") == ["mid dwconv", "mid pool"] and listed("--slot", "other") == []
    assert listed("--kind", "model", "--run", "tiny") == ["tiny"]
    assert listed("--kind", "model", "--run", "small") == ["assembled", "teacher"]
    assert "0 products, 0 B, in " in call("parts", "ls", "--run", "nothing").stdout


def test_a_filter_that_nothing_meets_says_what_there_is(call: Any, parts: list[dict[str, Any]]) -> None:
    said = call("parts", "ls", "--kind", "prat").stdout
    assert "no product has the kind 'prat': did you mean 'part'?" in said
    assert "the slot" not in said


def test_a_part_elsewhere_is_used_by_its_folder_and_refused_with_both_sides(
    call: Any, parts: list[dict[str, Any]]
) -> None:
    key = parts[0]["key"]
    assert call("parts", "export", key, "--out", "mine").exit_code == 0
    where = f"mine/parts/{key[:2]}/{key}"
    mid = ("-o", f"graph.mid={{op: dwconv, weights: {{file: {where}}}}}")
    fits = call("build", "tiny.yaml", *mid)
    assert fits.exit_code == 0, fits.output
    wrong = call("build", "tiny.yaml", *mid, "-o", "vars.dim=5")
    assert wrong.exit_code == 2
    assert "is [4, 1, 3, 3], 'mid' needs [5, 1, 3, 3]" in wrong.stderr
    assert "'mid dwconv' was made for: enters x float32[B, 4, 8, 8], leaves y float32[B, 4, 8, 8], host teacher of" in (
        wrong.stderr
    )


@pytest.mark.slow
def test_ten_thousand_parts_are_listed_within_a_second(tmp_path: Path) -> None:
    store, inputs = Store(tmp_path / "home"), {"slot": "stage.0", "part": "step = linear(x)\n" * 200, "seed": 0}
    for number in range(10_000):
        key = hashlib.blake2b(str(number).encode(), digest_size=20).hexdigest()
        folder = store.parts / key[:2] / key
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").write_bytes(b"weights")
        card = {"key": key, "run": "assembler.pipeline.jobs:part", "inputs": inputs, "label": f"part {number}"}
        card |= {"result": {"score": 0.5}, "seconds": 1.0, "created": "2026-01-01T00:00:00+00:00"}
        card |= {"files": {"weights.safetensors": {"size": 7, "sha256": "0" * 64}}}
        (folder / "card.json").write_text(json.dumps(card, indent=1))
    command = [sys.executable, "-m", "assembler", "parts", "ls", "--slot", "stage.*"]
    took = []
    for _ in range(3):
        begin = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = subprocess.run(
            command, env={"ASSEMBLER_HOME": str(store.root)}, capture_output=True, text=True, check=True
        )
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime)  # a busy machine is not our doing
    assert "10,000 products" in said.stdout and len(said.stdout.splitlines()) == 10_003
    assert min(took) < 1.0, took
