"""`assembler run`: the whole path of a run recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assembler.cli import say
from assembler.cli.options import Device, Overrides, Recipe, Workers
from assembler.errors import InputError
from assembler.recipe.document import Document, load

_INSTEAD = {
    "model": "train it with `assembler train {ref} --data digits`, or name it in a recipe of kind run",
    "space": "search it with `assembler search {ref}`, or name it in a recipe of kind run",
}


def run(recipe: Recipe, override: Overrides = None, workers: Workers = None, device: Device = "auto") -> dict[str, Any]:
    """Run a recipe: train, search, assemble, compare, export.

    What the parts store holds already is not done again, and a run that was killed goes on where it was. Progress goes
    to stderr, the tables of the result to stdout, all files to runs/NAME/TIME-HASH/.

    \b
        assembler run quickstart
        assembler run quickstart -o seeds=[0] --workers 4
    """
    document = _checked(recipe, load(recipe, override or ()))
    from assembler.pipeline.progress import Progress
    from assembler.pipeline.run import run_recipe
    from assembler.report.terminal import run_tables
    from assembler.train.device import resolve

    resolve(device)
    told: list[str] = []
    with Progress() as progress:
        folder, summary = run_recipe(
            document,
            workers=workers,
            device=device,
            on_event=progress.event,
            on_phase=progress.phase,
            on_tasks=progress.tasks,
            on_search=progress.search,
            tell=told.append,
        )
    say.show(*run_tables(folder))
    for said in told:
        say.line(said)
    _tell(folder, summary)
    return {"folder": str(folder), **summary}


def _checked(ref: str, document: Document) -> Document:
    """The document, once everything that needs no torch has been checked."""
    if document.kind in _INSTEAD:
        hint = _INSTEAD[document.kind].format(ref=ref)
        raise InputError(f"'{document.name}' is a {document.kind}, and only a run can be run", hint=hint)
    from assembler.pipeline.spec import read

    read(document)
    return document


def _tell(folder: Path, summary: dict[str, Any]) -> None:
    from assembler.pipeline.weights.loading import words

    for name, model in summary["models"].items():
        if model.get("initialised"):
            say.line(f"weights of {name}: {words(model['loaded'], model['initialised'])}")
    for failure in summary["failures"]:
        say.line(f"failed: {failure['task']}: {failure['reason']}")
    say.line(f"report  {folder / 'report.html'}")
    say.line(f"folder  {folder}")
