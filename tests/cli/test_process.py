"""The command line as a process: exit codes, streams, interrupts, what it imports and how fast it starts."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_case import ROOT, last

Spawn = Callable[..., subprocess.CompletedProcess[str]]
HEAVY = ("torch", "networkx", "optuna", "pyglove", "numpy")


def test_mistakes_are_shown_with_a_caret_and_end_with_2(spawn: Spawn, place: Path) -> None:
    (place / "bad.yaml").write_text((place / "tiny.yaml").read_text().replace("dwconv", "dwcnv"))
    done = spawn("lint", "bad.yaml", "tiny.yaml", "--json")
    assert done.returncode == 2
    assert done.stderr == (
        "bad.yaml:8:8: error: unknown op 'dwcnv'\n"
        "      mid: dwcnv\n"
        "           ^^^^^\n"
        "    hint: did you mean 'dwconv'?\n"
    )
    assert done.stdout.splitlines()[0] == "tiny.yaml: ok"
    assert last(done.stdout) == {
        "error": [{"message": "unknown op 'dwcnv'", "where": "bad.yaml:8:8", "hint": "did you mean 'dwconv'?"}]
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lnt"], "there is no verb 'lnt'; did you mean 'lint'?"),
        (["lint"], "Missing argument"),
        (["plan", "tiny.yaml", "--colour"], "No such option"),
        (["run", "small.yaml", "--workers", "0"], "--workers"),
        (["plan", "nothing.yaml"], "cannot find recipe 'nothing.yaml'"),
        (["plan", "tiny.yaml", "-o", "vars.dim"], "'vars.dim' is not an override"),
        (["lint", "tiny.yaml", "--plugin", "none.py"], "no plug-in file"),
    ],
)
def test_usage_errors_end_with_2(spawn: Spawn, words: list[str], message: str) -> None:
    done = spawn(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_lint_says_the_same_with_and_without_typer(spawn: Spawn, place: Path) -> None:
    (place / "bad.yaml").write_text("kind: model\nnme: x\n")
    plain = spawn("lint", "bad.yaml", "tiny.yaml")
    # An option that is joined to its value is left to typer.
    full = spawn("lint", "bad.yaml", "tiny.yaml", "--override=vars={dim: 4}")
    words = spawn("lint", "bad.yaml", "tiny.yaml", "-o", "vars={dim: 4}")
    assert (full.returncode, full.stdout, full.stderr) == (words.returncode, words.stdout, words.stderr)
    assert plain.returncode == 2


def test_a_reader_that_leaves_is_no_error(place: Path) -> None:
    command = f"{sys.executable} {ROOT / 'cli.py'} ops | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_an_interrupt_ends_with_130_and_the_same_command_goes_on(spawn: Spawn, place: Path) -> None:
    words = ["run", "small.yaml", "--workers", "1", "-o", "train.steps=100000", "-o", "train.validate_every=0"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:  # the first line comes once training goes on
        assert "steps/s" in line
        break
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted; what is finished is kept, and the same command goes on from there"
    assert "Traceback" not in stderr
    assert spawn("run", "small.yaml", "--workers", "1").returncode == 0


@pytest.mark.parametrize(
    "words",
    ["--help", "lint quickstart", "lint poolformer", "lint --help", "ls", "schema", "ops", "show tiny.yaml"],
)
def test_light_verbs_import_nothing_heavy(place: Path, words: str) -> None:
    code = (
        f"import sys; sys.argv = ['assembler', *{words.split()!r}]\n"
        "from assembler.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('heavy', *[m for m in {HEAVY!r} if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy"


@pytest.mark.parametrize("recipe", ["quickstart", "vit_ti"])
def test_lint_starts_fast(place: Path, recipe: str) -> None:
    """At most 1.5 times what importing four of the libraries takes; both with their byte code written."""
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(place / "pyc")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    lint = [sys.executable, str(ROOT / "cli.py"), "lint", recipe]
    imports = [sys.executable, "-c", "import yaml, rich, typer, pydantic"]

    def seconds(command: list[str]) -> float:
        begin = time.perf_counter()
        subprocess.run(command, env=env, check=True, capture_output=True)
        return time.perf_counter() - begin

    ratios = []
    for _ in range(4):  # a busy machine gets more chances
        seconds(lint), seconds(imports)
        pairs = [(seconds(lint), seconds(imports)) for _ in range(9)]
        ratios.append(statistics.median(ours / theirs for ours, theirs in pairs))
        if ratios[-1] <= 1.5:
            return
    raise AssertionError(f"lint takes {min(ratios):.2f} times as long as the imports")
