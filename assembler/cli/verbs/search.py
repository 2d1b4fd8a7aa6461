"""`assembler search`: the open choices of a recipe, each candidate trained."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Address, Device, Engine, Gpus, Out, Overrides, Recipe
from assembler.cli.options import Study as StudyOption
from assembler.cli.values import mapping, numbers
from assembler.errors import InputError
from assembler.recipe.document import Document, load

if TYPE_CHECKING:
    from assembler.search.study import Study, Trial

_SHOWN = 10
DataOption = Annotated[str | None, typer.Option("--data", help="A data set by name, or {name: ..., arguments}.")]
Trials = Annotated[int | None, typer.Option("--trials", min=1, help="How many candidates to train; 20 if not given.")]
Sampler = Annotated[
    str | None, typer.Option("--sampler", help="A sampler by name, or {name: ..., arguments}; tpe if not given.")
]
Budget = Annotated[
    list[str] | None, typer.Option("--budget", metavar="COST=LIMIT", help="Bound params or flops. Repeatable.")
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of the sampler and of training.")]


Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0.1, metavar="S", help="Seconds that one trial may take.")
]
Storage = Annotated[
    str | None,
    typer.Option("--storage", metavar="URL", help="journal:///FILE, postgresql://... or mysql://...; "
                 "a journal in the folder if not given."),
]  # fmt: skip


def search(
    recipe: Recipe,
    override: Overrides = None,
    data: DataOption = None,
    trials: Trials = None,
    sampler: Sampler = None,
    budget: Budget = None,
    seed: SeedOption = None,
    workers: Annotated[int, typer.Option("--workers", min=1, metavar="N", help="Trials at a time.")] = 1,
    storage: Storage = None,
    study: StudyOption = None,
    timeout: Timeout = None,
    engine: Engine = "processes",
    address: Address = None,
    gpus: Gpus = 0.0,
    device: Device = "auto",
    out: Out = None,
) -> dict[str, Any]:
    """Search a recipe's open choices by training candidates.

    They are scored on the validation split. Options go over the `search:` section of the recipe. A candidate that was
    trained before is read from the parts store. Writes candidates.jsonl and best.yaml, the recipe with the best choices
    made, to --out or to runs/NAME/TIME-HASH/.

    The same command goes on where a search was interrupted or killed; several processes or machines that run it with
    one --storage share the search. `assembler status` and `assembler steer` look at it and change it meanwhile.

    
        assembler search my/space.yaml --trials 50 --budget params=1e5 --workers 4
        assembler search digits_metaformer -o 'stage.block.mixer={$oneof: [pool, dwconv]}' --data digits
        assembler search my/space.yaml --storage postgresql://me@host/db --study mine --timeout 600
        assembler search my/space.yaml --workers 16 --engine ray --address auto --gpus 0.5
    """
    document = load(recipe, override or ())
    if document.kind == "run":
        raise InputError(f"'{document.name}' is a run", hint=f"`assembler run {recipe}` searches as its phases say")
    given = {
        "data": mapping(data, "--data", name="name") if data else None,
        "trials": trials,
        "sampler": mapping(sampler, "--sampler", name="name") if sampler else None,
        "budget": numbers(budget, "--budget") if budget else None,
        "seed": seed,
    }
    from assembler.pipeline.files import point
    from assembler.pipeline.folders import new_folder
    from assembler.pipeline.progress import Progress
    from assembler.pipeline.search.page import write_page
    from assembler.pipeline.search.rows import write_search
    from assembler.pipeline.search.run import search_recipe
    from assembler.pipeline.search.settings import Running, settings
    from assembler.search.storage import JOURNAL

    how = settings(document, given)
    folder = out or new_folder(document)
    kept = storage or f"journal:///{(folder / JOURNAL).absolute()}"
    running = Running(workers, device, timeout, kept, study, engine, address, gpus)
    with Progress() as progress:
        on_trial = progress.search("search", how.goals, how.trials)
        found = search_recipe(document, how, running, on_event=progress.event, on_trial=on_trial, tell=say.note)
    write_search(folder, document, found)
    write_page(folder, document, how, found)
    if out is None:
        point(folder)
    _tell(document, found)
    say.line(f"folder  {folder}")
    return _data(document, found, str(folder))


def _tell(document: Document, study: Study) -> None:
    from assembler.report.numbers import figure

    shown = _ranked(study)[:_SHOWN]
    costs = list(dict.fromkeys(["params", "flops", *(name for trial in shown for name in trial.costs)]))
    heads = ["FLOPs" if name == "flops" else name for name in costs]
    table = say.table("trial", "choice", *heads, "validation", title=document.name, left=2)
    for trial in shown:
        choice = " ".join(f"{name}={label}" for name, label in trial.labels.items())
        spent = [figure(name, trial.costs.get(name)) for name in costs]
        style = "bold" if trial is study.best else None
        say.row(table, trial.number, choice, *spent, f"{trial.value:.4f}", style=style)
    say.show(table)
    size = "countless" if study.space_size is None else f"{study.space_size:,}"
    say.line(f"{study.evaluated:,} of {size} candidates were trained; the search ended: {study.stopped}")
    if study.refused:
        say.line(f"{study.refused:,} candidates did not pass the screen")
    if study.final is not None:
        say.line(f"the winner, trained as the recipe says: validation {study.final:.4f} ({study.product})")
    reasons = Counter((t.state, t.reason) for t in study.trials if t.state in ("failed", "infeasible", "pruned"))
    for (state, reason), times in reasons.most_common(_SHOWN):
        say.line(f"{state}: {reason}" + (f" ({times} times)" if times > 1 else ""))


def _ranked(study: Study) -> list[Trial]:
    done = [t for t in study.trials if t.state == "complete"]
    return sorted(done, key=lambda t: (t is not study.best, -(t.value or 0.0), t.number))


def _data(document: Document, study: Study, folder: str) -> dict[str, Any]:
    best = None
    if study.best:
        best = {"choice": study.best.labels, "score": study.best.value, **study.best.costs}
    return {
        "recipe": document.name,
        "folder": folder,
        "space_size": study.space_size,
        "evaluated": study.evaluated,
        "stopped": study.stopped,
        "refused": study.refused,
        "final": study.final,
        "states": dict(Counter(t.state for t in study.trials)),
        "best": best,
    }
