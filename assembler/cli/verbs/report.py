"""`assembler report`: the report of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from assembler import resources
from assembler.cli import say
from assembler.errors import InputError, near

Folder = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or a run's name for its latest one.")]


def report(folder: Folder) -> dict[str, Any]:
    """Write a run's report.html anew and show its tables.

    \b
        assembler report runs/quickstart/latest
        assembler report quickstart
    """
    from assembler.report.html import write_report
    from assembler.report.terminal import run_tables

    place = run_folder(folder)
    written = write_report(place)
    say.show(*run_tables(place))
    say.line(f"report  {written}")
    return {"folder": str(place), "report": str(written)}


def run_folder(ref: str) -> Path:
    """The run folder that a path or a run's name means. Raises InputError, with the nearest name, for anything else."""
    home = resources.runs_home()
    for place in (Path(ref), home / ref / "latest"):
        if (place / "summary.json").is_file() or (place / "graph.txt").is_file():
            return place
    names = [f.name for f in home.glob("*")] if home.is_dir() else []
    hint = near(ref, names) or (f"runs in {home}: {', '.join(sorted(names))}" if names else f"there are none in {home}")
    raise InputError(f"no run folder '{ref}'", hint=hint)
