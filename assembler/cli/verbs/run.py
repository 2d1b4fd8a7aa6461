"""`assembler run`: the whole path of a run recipe."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from assembler import resources
from assembler.assemble import torchrun
from assembler.cli import say
from assembler.cli.guard import AnswerError
from assembler.cli.options import Address, Device, Engine, Gpus, Overrides, Recipe, Workers
from assembler.errors import InputError, near
from assembler.recipe.document import Document, load

if TYPE_CHECKING:
    from assembler.assemble.engines import Engine as Engines
    from assembler.train.world import How

_HOW = ("ddp", "fsdp")
Parallel = Annotated[
    str | None,
    typer.Option("--parallel", metavar="HOW", help="Under torchrun: ddp (weights in each process) or fsdp (divided)."),
]
_INSTEAD = {
    "model": "train it with `assembler train {ref} --data digits`, or name it in a recipe of kind run",
    "space": "search it with `assembler search {ref}`, or name it in a recipe of kind run",
}


def run(
    recipe: Recipe,
    override: Overrides = None,
    workers: Workers = None,
    device: Device = "auto",
    engine: Engine = "processes",
    address: Address = None,
    gpus: Gpus = 0.0,
    parallel: Parallel = None,
) -> dict[str, Any]:
    """Run a recipe: train, search, assemble, compare, export.

    What the parts store holds already is not done again, and a run that was killed goes on where it was. Progress goes
    to stderr, the tables of the result to stdout, all files to runs/NAME/TIME-HASH/. Processes that torchrun starts
    train together, one task after the other. Exit code 1 if a model was made with no seed, whatever else there is.

    \b
        assembler run quickstart
        assembler run quickstart -o seeds=[0] --workers 4
        assembler run my/run.yaml --workers 16 --engine ray --address auto
        torchrun --nproc-per-node 2 -m assembler run my/run.yaml --parallel fsdp
    """
    how = _parallel(parallel)
    if how and torchrun.follows():
        _follow(how, device)
    document = _checked(recipe, load(recipe, override or ()))
    from assembler.assemble.engines import Engine as Engines

    return _run(document, workers, device, Engines(engine, address, gpus, how))


def _run(document: Document, workers: int | None, device: str, engine: Engines) -> dict[str, Any]:
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
            engine=engine,
        )
    say.show(*run_tables(folder))
    for said in told:
        say.line(said)
    _tell(folder, summary)
    data = {"folder": str(folder), **summary}
    if any(model["test"] is None for model in summary["models"].values()):
        raise AnswerError(data)
    return data


def _parallel(said: str | None) -> How | None:
    """How processes that torchrun has started train together; None where this one is alone."""
    if said is not None and said not in _HOW:
        raise InputError(f"there is no --parallel {said}", hint=near(said, _HOW) or f"there are {' and '.join(_HOW)}")
    if not torchrun.started():
        if said is not None:
            hint = "torchrun --nproc-per-node 2 -m assembler run ... starts two of them"
            raise InputError("--parallel is for processes that torchrun starts, and this one is alone", hint=hint)
        return None
    torchrun.hush()
    return "fsdp" if said == "fsdp" else "ddp"


def _follow(how: How, device: str) -> NoReturn:
    """Work with the first process until it has ended; it alone speaks."""
    from assembler.assemble.ranks import follow
    from assembler.train.device import resolve

    follow(resources.store_home(), how, resolve(device))
    sys.stdout.flush()
    sys.stderr.flush()
    # gloo's threads outlive the group (DDP keeps it): one that lets go of a tensor while Python ends aborts the process
    os._exit(0)


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
        elif model.get("account"):
            say.line(f"weights of {name}: {model['account']}")
        if taken := model.get("taken"):
            say.line(f"slots of {name}: {', '.join(f'{slot} from {place}' for slot, place in taken.items())}")
    for failure in summary["failures"]:
        say.line(f"failed: {failure['task']}: {failure['reason']}")
    say.line(f"report  {folder / 'report.html'}")
    say.line(f"folder  {folder}")
