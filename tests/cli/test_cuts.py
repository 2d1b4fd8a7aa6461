"""`assembler cuts`, and what `plan` says of slots and times."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from cli_case import RUN, last
from typer.testing import Result

import assembler as asm

Call = Callable[..., Result]


def test_every_place_is_listed(call: Call) -> None:
    result = call("cuts", "tiny.yaml", "--json")
    assert result.exit_code == 0, result.output
    data = last(result.stdout)
    assert data["chain"] == ["stem", "mid", "pool", "head"] == [p["name"] for p in data["parts"]]
    assert data["parts"][0] == {"name": "stem", "steps": 1, "entering": [2, 1, 8, 8], "leaving": [2, 4, 8, 8],
                                "sides": {}, "params": 40, "flops": 4608}  # fmt: skip
    assert data["split"] == [] and data["torn"] == {}
    rows = [line.split() for line in result.stdout.splitlines() if line.strip().startswith(">")]
    assert rows[3] == [">", "head", "1", "[B,", "4]", "[B,", "3]", "15", "24"]


def test_a_proposal_can_be_written_into_a_run(call: Call, place: Path) -> None:
    result = call("cuts", "tiny.yaml", "--slots", "2", "--by", "params", "--json")
    assert "split: [stem, mid..head]\n" in result.stdout
    slots = last(result.stdout)["slots"]
    assert [(p["name"], p["params"]) for p in slots] == [("stem", 40), ("mid..head", 55)]
    (place / "run.yaml").write_text(RUN.replace("split: [mid]", "split: [stem, mid..head]"))
    assert call("lint", "run.yaml").exit_code == 0
    assert asm.cuts("tiny.yaml", slots=2, by="params").data() == last(result.stdout)
    assert asm.cuts(asm.graph("tiny.yaml"), slots=2).proposal == asm.cuts(asm.load("tiny.yaml"), slots=2).proposal


def test_more_slots_than_there_are(call: Call) -> None:
    result = call("cuts", "tiny.yaml", "--slots", "5")
    assert result.exit_code == 2 and result.stderr == "error: tiny can be cut into 4 slots at most, not 5\n"


def test_shared_weights_are_said(call: Call, place: Path) -> None:
    (place / "tied.yaml").write_text(
        "kind: model\ninputs: {x: [B, 4]}\ngraph:\n  a: {op: linear, out: 4}\n  b: relu\n"
        "  c: {op: linear, out: 4, share: a}\noutputs: {y: c}\n"
    )
    result = call("cuts", "tied.yaml")
    assert "'a' is no slot: 'c' uses the weights of 'a', which is on the other side\n" in result.stdout


def test_a_plan_says_which_slots_came_of_a_number(call: Call, place: Path) -> None:
    (place / "run.yaml").write_text(RUN.replace("split: [mid]", "split: 2"))
    result = call("plan", "run.yaml", "--json")
    assert "slots        2: balanced by FLOPs, the largest has 50% of the model's\n" in result.stdout
    data = last(result.stdout)
    assert [s["name"] for s in data["slots"]] == ["stem", "mid..head"] and data["split"].startswith("balanced by FLOPs")


def test_a_plan_with_times(call: Call) -> None:
    result = call("plan", "tiny.yaml", "--time", "--json")
    assert result.exit_code == 0, result.output
    rows = last(result.stdout)["time"]
    assert {r["path"] for r in rows} == {"stem", "mid", "pool", "head"} and all(r["forward_ms"] > 0 for r in rows)
    lines = {r["path"]: r["line"].rpartition("/")[2] for r in rows}
    assert lines == {"stem": "tiny.yaml:7:9", "mid": "tiny.yaml:8:8", "pool": "tiny.yaml:9:9", "head": "tiny.yaml:10:9"}
    assert re.search(
        r"^time +[\d.]+ ms forward, [\d.]+ ms with backward, all 4 steps; a batch of 2", result.stdout, re.M
    )
