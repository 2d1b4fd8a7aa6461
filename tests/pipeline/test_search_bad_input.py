"""What a user reads where a search cannot be: the whole message, from the command line and from Python."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import assembler as asm
from assembler.cli.app import app
from assembler.errors import AssemblerError

sys.path.insert(0, str(Path(__file__).parent))

from inside import search_inside

SPACE = """\
kind: space
name: little
base:
  inputs: {image: [B, 1, 8, 8]}
  graph:
    flat: flatten
    mid: {op: linear, out: 2}
    head: {op: linear, out: 10}
choose:
  mid.out: {$oneof: [2, 3, 4]}
search: {data: digits, sampler: grid, trials: 3, train: {steps: 2}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    search_inside(monkeypatch)
    (tmp_path / "s.yaml").write_text(SPACE)
    return tmp_path


def told(*words: object, code: int) -> str:
    """What `assembler search` says on stderr in the end, without its progress."""
    result = CliRunner().invoke(app, ["search", *map(str, words)])
    assert result.exit_code == code, result.output
    lines = result.stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("["))


NOTHING = {
    "where: [mid.out > 2, mid.out * 2 < 5]": """\
s.yaml:12:9: error: where: 'mid.out > 2' and 'mid.out * 2 < 5' leave no choice
    where: [mid.out > 2, mid.out * 2 < 5]
            ^^^^^^^^^^^
    hint: each of them can be met alone
""",
    "where: [mid.out > 2, params < 100]": """\
error: none of 2 candidates meets where, which refused, by constraint: 'params < 100' 2
""",
}


@pytest.mark.parametrize("where", NOTHING)
def test_the_constraints_that_empty_a_space_are_told(where: str, folder: Path) -> None:
    (folder / "s.yaml").write_text(f"{SPACE}{where}\n")
    assert told("s.yaml", code=2) == NOTHING[where]


def test_a_space_without_choices(folder: Path) -> None:
    (folder / "s.yaml").write_text(
        SPACE.replace("  mid.out: {$oneof: [2, 3, 4]}\n", "").replace("choose:", "choose: {}")
    )
    hint = "    hint: give it some: a space's choose:, or {$oneof: [...]} in the recipe\n"
    assert told("s.yaml", code=2) == "error: 'little' has no open choices to search\n" + hint


def test_numbers_and_objectives_are_told_where_they_are_written(folder: Path) -> None:
    (folder / "s.yaml").write_text(SPACE.replace("trials: 3", "trials: 0, objectives: {acuracy: maximize}"))
    assert told("s.yaml", code=2).startswith("s.yaml:11:47: error: a search needs a trial, not 0\n")
    (folder / "s.yaml").write_text(SPACE.replace("trials: 3", "objectives: {acuracy: maximize}"))
    assert told("s.yaml", code=2).startswith("s.yaml:11:52: error: there is no metric 'acuracy'\n")


def test_a_budget_that_nothing_fits() -> None:
    assert told("s.yaml", "--budget", "params=100", code=2) == (
        "error: none of 3 candidates fits the budget; the nearest has params 160 > 100\n"
    )


def test_trainings_that_all_diverge(folder: Path) -> None:
    (folder / "s.yaml").write_text(SPACE.replace("steps: 2", "steps: 3, lr: 1e30, clip: null"))
    said = (
        "error: all 3 evaluations failed; 3 of them with: the loss is nan at step 2 of 3: term 'cross_entropy'; head "
    )
    assert told("s.yaml", code=1).startswith(said)


def test_a_study_of_another_space_and_of_other_settings(folder: Path) -> None:
    url = f"journal:///{folder}/study.log"
    assert told("s.yaml", "--storage", url, code=0) == ""
    (folder / "t.yaml").write_text(SPACE.replace("mid.out: {$oneof: [2, 3, 4]}", "head.bias: {$oneof: [true, false]}"))
    hint = "    hint: give the study another name\n"
    assert told("t.yaml", "--storage", url, code=2) == (
        f"error: study 'little' in {url} was made for another space: decision 'head.bias' is new; "
        f"decision 'mid.out' is gone\n{hint}"
    )
    (folder / "t.yaml").write_text(SPACE.replace("steps: 2", "steps: 4"))
    assert told("t.yaml", "--storage", url, code=2) == (
        f"error: study 'little' in {url} was made with other settings: train: {{'steps': 2}} there, "
        f"{{'steps': 4}} here\n{hint}"
    )


def test_a_database_that_is_not_there() -> None:
    pytest.importorskip("psycopg", reason="the driver is an extra")
    said = told("s.yaml", "--storage", "postgresql://me:secret@127.0.0.1:1/studies", code=2)
    assert said.startswith("error: cannot open postgresql://me:***@127.0.0.1:1/studies: ")
    assert said.endswith("\n    hint: is the server up, and is the name of the database right?\n")


def test_what_is_for_a_cluster_alone() -> None:
    assert told("s.yaml", "--gpus", "1", code=2) == (
        "error: 'gpus' is for workers on a Ray cluster\n    hint: give the engine too: ray\n"
    )


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    disk = folder / "home"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "assembler-test", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_ends_a_search_and_it_goes_on_where_there_is_space(small_disk: Path) -> None:
    (small_disk / "fill").write_bytes(b"." * 240_000)
    said = told("s.yaml", "--out", "found", code=1)
    assert said.startswith(f"error: cannot write {small_disk}/")
    assert said.endswith(
        "No space left on device (0.0 MB free on that disk)\n"
        "    hint: free some space, or point ASSEMBLER_HOME at another disk\n"
    )
    (small_disk / "fill").unlink()
    assert told("s.yaml", "--out", "found", code=0) == ""


def raising(model: Any) -> float:
    raise ValueError(f"no score for {sum(p.numel() for p in model.parameters())}")


def hanging(model: Any) -> float:
    time.sleep(60)
    return 1.0


OBJECTIVES: list[tuple[Callable[[Any], Any], str]] = [
    (
        raising,
        "all 3 evaluations failed; 3 of them with: ValueError: no score for 160 "
        f"(test_search_bad_input.py:{raising.__code__.co_firstlineno + 1})",
    ),
    (hanging, "all 3 evaluations failed; 3 of them with: it took longer than 0.2 s and was ended"),
    (lambda model: math.nan, "all 3 evaluations failed; 3 of them with: the value is nan"),
    (lambda model: None, "all 3 evaluations failed; 3 of them with: the objective gave None, which is no number"),
    (lambda model: (1.0, 2.0), "the objective gave 2 values\n    hint: give 2 directions, not 1"),
]


@pytest.mark.parametrize(("objective", "message"), OBJECTIVES, ids=["raises", "hangs", "nan", "none", "two"])
def test_an_objective_that_gives_nothing(objective: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(AssemblerError) as error:
        asm.search("s.yaml", objective, timeout=0.2)
    assert str(error.value) == f"error: {message}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trials": 0}, "search.trials: error: a search needs a trial, not 0"),
        ({"workers": 0}, "error: 'workers' is how many work at the same time, at least 1, not 0"),
        ({"timeout": -1.0}, "error: 'timeout' is the seconds that a trial may take, more than 0, not -1"),
        ({"sampler": "rndom"}, "error: unknown sampler 'rndom'\n    hint: did you mean 'random'?"),
        (
            {"budget": {"parms": 3}},
            "error: the budget names 'parms', which is no cost\n    hint: did you mean 'params'?",
        ),
    ],
)
def test_wrong_calls_from_python(given: dict[str, Any], message: str) -> None:
    with pytest.raises(AssemblerError) as error:
        asm.search("s.yaml", lambda model: 1.0, **given)
    assert str(error.value) == message
    assert error.value.exit_code == 2


@pytest.mark.parametrize("sampler", ["random", "tpe", "{name: optuna, algorithm: nsgaii}"])
def test_any_seed_from_zero_on_is_one(sampler: str) -> None:
    assert told("s.yaml", "--seed", 2**40 + 1, "--sampler", sampler, "--trials", 2, code=0) == ""


def test_a_negative_seed_is_refused_in_python() -> None:
    with pytest.raises(AssemblerError) as error:
        asm.search("s.yaml", seed=-1)
    assert str(error.value) == "search.seed: error: 'seed' of a search is at least 0, not -1"


NEGATIVE = {
    "{name: tpe, startup: -3}": "'startup' of sampler 'tpe' is at least 0, not -3",
    "{name: mcts, explore: -1}": "'explore' of sampler 'mcts' is at least 0, not -1",
    "{name: optuna, options: {n_startup_trials: -3}}": "'n_startup_trials' of Optuna's TPESampler is at least 0, "
    "not -3",
}


@pytest.mark.parametrize("sampler", NEGATIVE)
def test_options_that_count_are_not_negative(sampler: str) -> None:
    assert told("s.yaml", "--sampler", sampler, code=2) == f"error: {NEGATIVE[sampler]}\n"


@pytest.mark.parametrize(("pruner", "option"), [("median", "startup"), ("median", "warmup"), ("dominance", "startup")])
def test_pruners_wait_for_no_less_than_nothing(pruner: str, option: str) -> None:
    said = f"'{option}' of pruner '{pruner}' is at least 0, not -1"
    with pytest.raises(AssemblerError, match=said):
        asm.search("s.yaml", prune={"name": pruner, option: -1})


def test_one_objective_is_followed_by_optunas_cmaes() -> None:
    how = "{name: optuna, algorithm: cmaes}"
    goals = "search.objectives={validation: maximize, params: minimize}"
    found = told("s.yaml", "--sampler", how, "-o", goals, code=2)
    assert found.startswith("error: Optuna's sampler 'cmaes' cannot search this: ") and "multi-objective" in found


def test_a_sampler_that_makes_no_moves_says_so_at_once(folder: Path) -> None:
    (folder / "m.yaml").write_text(f"{SPACE}moves: [deepen]\n")
    said = "sampler 'grid' makes no moves: 'moves' is left out\n"
    assert said in told("m.yaml", "--trials", 1, code=0)
    assert CliRunner().invoke(app, ["lint", "m.yaml"]).stdout == f"m.yaml: ok; {said}"
    assert CliRunner().invoke(app, ["lint", "m.yaml", "-o", "search.sampler=evolution"]).stdout == "m.yaml: ok\n"
    around = "search.sampler={name: repeat, of: {name: retry, of: tpe}}"
    said = "sampler 'tpe' makes no moves: 'moves' is left out\n"
    assert CliRunner().invoke(app, ["lint", "m.yaml", "-o", around]).stdout == f"m.yaml: ok; {said}"


def test_a_limit_that_is_no_number() -> None:
    with pytest.raises(AssemblerError) as error:
        asm.search("s.yaml", lambda m: 1.0, budget={"params": "lots"})
    assert "'budget' of 'search' must be a mapping, each value a number or null, not {params: 'lots'}" in str(
        error.value
    )
