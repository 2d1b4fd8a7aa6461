"""`assembler search`: the open choices of a recipe, each candidate trained."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Device, Out, Overrides, Recipe
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


def search(
    recipe: Recipe,
    override: Overrides = None,
    data: DataOption = None,
    trials: Trials = None,
    sampler: Sampler = None,
    budget: Budget = None,
    seed: SeedOption = None,
    device: Device = "auto",
    out: Out = None,
) -> dict[str, Any]:
    """Search a recipe's open choices by training candidates.

    They are scored on the validation split. Options go over the `search:` section of the recipe. A candidate that was
    trained before is read from the parts store. Writes candidates.jsonl and best.yaml, the recipe with the best choices
    made, to --out or to runs/NAME/TIME-HASH/.

    \b
        assembler search my/space.yaml --trials 50 --budget params=1e5
        assembler search digits_metaformer -o 'stage.block.mixer={$oneof: [pool, dwconv]}' --data digits
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
    from assembler.pipeline.progress import Progress
    from assembler.pipeline.run import new_folder
    from assembler.pipeline.searching import search_recipe, settings, write_search
    from assembler.train.device import resolve

    device = str(resolve(device))
    how = settings(document, given)
    with Progress() as progress:
        progress.expect("search", how.trials)
        study = search_recipe(document, how, device=device, on_event=progress.event)
    folder = out or new_folder(document)
    write_search(folder, document, study)
    _tell(document, study)
    say.line(f"folder  {folder}")
    return _data(document, study, str(folder))


def _tell(document: Document, study: Study) -> None:
    from assembler.recipe.choices import space
    from assembler.report.numbers import count

    named = space(document.model).named
    table = say.table("trial", "choice", "params", "FLOPs", "validation", title=document.name, left=2)
    for trial in _ranked(study)[:_SHOWN]:
        choice = " ".join(f"{name}={label}" for name, label in named(trial.choice).items())
        costs = [count(trial.costs.get(name)) for name in ("params", "flops")]
        style = "bold" if trial is study.best else None
        say.row(table, trial.number, choice, *costs, f"{trial.value:.4f}", style=style)
    say.show(table)
    size = "countless" if study.space_size is None else f"{study.space_size:,}"
    say.line(f"{study.evaluated:,} of {size} candidates were trained; the search ended: {study.stopped}")
    reasons = Counter((t.state, t.reason) for t in study.trials if t.state in ("failed", "infeasible"))
    for (state, reason), times in reasons.most_common(_SHOWN):
        say.line(f"{state}: {reason}" + (f" ({times} times)" if times > 1 else ""))


def _ranked(study: Study) -> list[Trial]:
    done = [t for t in study.trials if t.state == "complete"]
    return sorted(done, key=lambda t: (t is not study.best, -(t.value or 0.0), t.number))


def _data(document: Document, study: Study, folder: str) -> dict[str, Any]:
    from assembler.recipe.choices import space

    best = None
    if study.best:
        choice = space(document.model).named(study.best.choice)
        best = {"choice": choice, "score": study.best.value, **study.best.costs}
    return {
        "recipe": document.name,
        "folder": folder,
        "space_size": study.space_size,
        "evaluated": study.evaluated,
        "stopped": study.stopped,
        "states": dict(Counter(t.state for t in study.trials)),
        "best": best,
    }
