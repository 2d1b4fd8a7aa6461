"""`assembler bench`: a figure and its peer, measured in the same run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from assembler import resources
from assembler.cli import say
from assembler.cli.guard import AnswerError
from assembler.errors import InputError, TaskError, near

Name = Annotated[str, typer.Argument(metavar="NAME", help="Which bench; its code is benchmarks/NAME.py.")]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer runs; the result is not kept.")]


def bench(name: Name, quick: Quick = False) -> dict[str, Any]:
    """Measure a figure of the README against its peer, and end with a line of JSON.

    From a checkout only: benchmarks/ is no part of an installed package. Full results are kept in
    benchmarks/results.json. The exit code is 1 where a goal is missed.

    \b
        assembler bench startup --quick
    """
    folder = _folder()
    known = sorted(file.stem for file in folder.glob("*.py") if "\ndef figures(" in file.read_text(encoding="utf-8"))
    if name not in known:
        raise InputError(f"there is no bench '{name}'", hint=near(name, known) or f"benches: {', '.join(known)}")
    command = [sys.executable, "-m", "benchmarks", name, *(["--quick"] if quick else [])]
    ended = subprocess.run(command, cwd=folder.parent, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        raise TaskError(f"the bench '{name}' failed", hint="what it said stands above")
    text = ended.stdout.splitlines()[-1]
    data: dict[str, Any] = json.loads(text)
    say.show(_table(data["figures"]))
    say.line(text)
    if not all(figure["holds"] for figure in data["figures"]):
        raise AnswerError(data)
    return data


def _folder() -> Path:
    root = resources.PACKAGE.parent
    if (root / "pyproject.toml").is_file() and (root / "benchmarks" / "__main__.py").is_file():
        return root / "benchmarks"
    raise InputError(
        "figures are measured in a checkout: benchmarks/ is no part of an installed package",
        hint="clone the repository, `make install`, and call its .venv/bin/assembler",
    )


def _table(figures: list[dict[str, Any]]) -> Any:
    made = say.table("figure", "value", "spread", "goal", "holds")
    for one in figures:
        holds = "yes" if one["holds"] else "no"
        say.row(made, one["name"], f"{one['value']:.3f}", f"{one['spread']:.3f}", one["goal"], holds)
    return made
