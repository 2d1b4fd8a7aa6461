"""`assembler bench`: a figure and its peer, measured in the same run; samplers against each other on a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from assembler import resources
from assembler.cli import say
from assembler.cli.guard import AnswerError
from assembler.cli.values import mapping
from assembler.errors import InputError, TaskError, near

Name = Annotated[str, typer.Argument(metavar="NAME", help="Which bench; its code is benchmarks/NAME.py.")]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer runs; the result is not kept.")]
Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Where the files of tables lie.")]
Metric = Annotated[str, typer.Option("--metric", help="Of a table: what is searched for; its first metric by default.")]
Report = Annotated[
    str, typer.Option("--report", help="Of a table: what is told of the best choice, if another metric.")
]
Samplers = Annotated[
    list[str] | None,
    typer.Option("--sampler", help="For a table: a sampler, or {name: ..., options}. Repeatable; random and bayes."),
]
Queries = Annotated[int, typer.Option("--queries", min=1, help="For a table: how many choices a search may evaluate.")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="For a table: how many searches of each sampler.")]


def bench(
    name: Name,
    quick: Quick = False,
    data: Data = None,
    metric: Metric = "",
    report: Report = "",
    sampler: Samplers = None,
    queries: Queries = 100,
    seeds: Seeds = 20,
) -> dict[str, Any]:
    """Measure a figure of the README against its peer, or samplers on a table, and end with a line of JSON.

    Figures are measured from a checkout only: benchmarks/ is no part of an installed package. Full results are kept in
    benchmarks/results.json. The exit code is 1 where a goal is missed. A table is a description file (docs/tables.md).

    \b
        assembler bench startup --quick
        assembler bench my/table.yaml --metric accuracy --sampler bayes --sampler tpe --queries 50
    """
    if Path(name).suffix in (".yaml", ".yml"):
        return _table(name, data, metric, report, sampler or ["random", "bayes"], queries, seeds)
    if data:
        os.environ["ASSEMBLER_DATA"] = str(data.resolve())
    folder = _folder()
    known = sorted(file.stem for file in folder.glob("*.py") if "\ndef figures(" in file.read_text(encoding="utf-8"))
    if name not in known:
        raise InputError(f"there is no bench '{name}'", hint=near(name, known) or f"benches: {', '.join(known)}")
    command = [sys.executable, "-m", "benchmarks", name, *(["--quick"] if quick else [])]
    ended = subprocess.run(command, cwd=folder.parent, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        raise TaskError(f"the bench '{name}' failed", hint="what it said stands above")
    text = ended.stdout.splitlines()[-1]
    found: dict[str, Any] = json.loads(text)
    say.show(_figures(found["figures"]))
    say.line(text)
    if not all(figure["holds"] for figure in found["figures"]):
        raise AnswerError(found)
    return found


def _table(
    ref: str, data: Path | None, metric: str, report: str, samplers: list[str], queries: int, seeds: int
) -> dict[str, Any]:
    from assembler.search.tables import open_table
    from assembler.search.tables.play import compare

    table = open_table(ref, data)
    metric = metric or next(iter(table.metrics))
    wanted = [mapping(text, "--sampler", name="name") for text in samplers]
    lines = compare(table, wanted, metric, queries, range(seeds), report=report)
    title = f"{table.name}: {metric} after {queries} queries, {seeds} seeds"
    shown = say.table("sampler", metric, "spread", report or "ms a query", "spread" if report else "", title=title)
    for line in lines:
        rest = (f"{line.reported:.4g}", f"{line.reported_spread:.2g}") if report else (f"{line.milliseconds:.2f}", "")
        say.row(shown, line.sampler, f"{line.best:.4g}", f"{line.spread:.2g}", *rest)
    say.show(shown)
    return {"table": table.name, "metric": metric, "report": report, "queries": queries, "seeds": seeds,
            "samplers": [asdict(line) for line in lines]}  # fmt: skip


def _folder() -> Path:
    root = resources.PACKAGE.parent
    if (root / "pyproject.toml").is_file() and (root / "benchmarks" / "__main__.py").is_file():
        return root / "benchmarks"
    raise InputError(
        "figures are measured in a checkout: benchmarks/ is no part of an installed package",
        hint="clone the repository, `make install`, and call its .venv/bin/assembler",
    )


def _figures(figures: list[dict[str, Any]]) -> Any:
    made = say.table("figure", "value", "spread", "goal", "holds")
    for one in figures:
        holds = "yes" if one["holds"] else "no"
        say.row(made, one["name"], f"{one['value']:.3f}", f"{one['spread']:.3f}", one["goal"], holds)
    return made
