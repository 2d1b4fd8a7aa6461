"""Search by training: each candidate of a space is trained on data and scored on the validation split."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assembler import resources
from assembler.assemble.plan import Failure
from assembler.assemble.runner import Event, Runner
from assembler.assemble.store import Store
from assembler.assemble.task import Task
from assembler.errors import RecipeError, TaskError
from assembler.pipeline.candidates import Candidates, recipe_of
from assembler.pipeline.exporting import write_text
from assembler.pipeline.initial import needs_of
from assembler.pipeline.loading import places
from assembler.pipeline.training import Setting, training_task
from assembler.recipe.choices import Choice, decide
from assembler.recipe.document import Document
from assembler.recipe.values import Map, plain
from assembler.recipe.write import to_yaml
from assembler.registry import Entry, checks
from assembler.registry.live import describe
from assembler.search.samplers import SearchSpec, make
from assembler.search.study import Study, Trial, run
from assembler.train.spec import FitSpec


@dataclass(frozen=True)
class Settings:
    """The `search:` section of a space: data, sampler, number of trials, budget, training settings, seed."""

    data: str | dict[str, Any]
    sampler: str | dict[str, Any] = "tpe"
    trials: int = 20
    budget: dict[str, float] | None = None
    train: dict[str, Any] | None = None
    seed: int = 0


def signature() -> Entry:
    """`Settings` as a schema."""
    return describe("search", "", Settings, {})


def settings(document: Document, given: Mapping[str, Any]) -> Settings:
    """The settings of a search: the recipe's `search:` section, with `given` laid over it."""
    section = document.tree.get("search", Map())
    if not isinstance(section, Map):
        raise RecipeError("'search' must be a mapping of settings", hint="for instance {data: digits, trials: 20}")
    found = {**plain(section), **{k: v for k, v in given.items() if v is not None}}
    problems = list(checks.problems(signature(), found, section.key_span, span=section.span, path="search"))
    if problems:
        raise RecipeError(problems)
    FitSpec.from_spec(found.get("train") or {}, path="search.train")
    return Settings(**found)


def search_recipe(
    document: Document,
    how: Settings,
    *,
    device: str = "auto",
    on_event: Callable[[Event], None] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> Study:
    """Search the open choices of a recipe; each candidate is a task, so one that was trained before is read."""
    candidates = Candidates(document.model, document.name)
    found, graph = candidates.space, candidates.graph
    if not found.decisions:
        hint = "give it some: a space's choose:, or {$oneof: [...]} in the recipe"
        raise RecipeError(f"'{document.name}' has no open choices to search", hint=hint)

    candidates.begin()
    data = {"name": how.data} if isinstance(how.data, str) else how.data
    setting = Setting(data, how.train or {}, how.seed, device)
    store = Store(resources.store_home())

    def begin(choice: Choice) -> dict[str, Task]:
        where = places(decide(document.model, choice), document.folder)
        return needs_of(store, graph(choice), where, phase="search") if where else {}

    for choice in found.covering():  # each candidate's weights are looked at before anything is trained
        begin(choice)
    with Runner(store, 1, on_event) as runner:

        def evaluate(choice: Choice) -> float:
            label = " ".join(found.named(choice).values())
            made = training_task(graph(choice), setting, begin(choice), label=label, phase="search")
            product = runner.run([made])[made]
            if isinstance(product, Failure):
                raise TaskError(product.reason)
            return float(product.result["validation"])

        return run(
            found,
            evaluate,
            make(how.sampler, SearchSpec(found, how.seed, graph=graph, growth=candidates.growth)),
            how.trials,
            cost=candidates.cost,
            budget=how.budget,
            key=candidates.fingerprint,
            where=found.refusal,
            on_trial=on_trial,
        )


def write_search(folder: Path, document: Document, study: Study) -> None:
    """Write every candidate to candidates.jsonl, and the recipe with the best one's choices made to best.yaml."""
    rows = [_row(trial) for trial in study.trials]
    write_text(folder / "candidates.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    if study.best:
        write_text(folder / "best.yaml", to_yaml(recipe_of(document.model, study.best.choice, document.name)))


def _row(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "choice": trial.labels,
        "params": trial.costs.get("params"),
        "flops": trial.costs.get("flops"),
        "estimate": trial.estimate,
        "score": trial.value,
        "feasible": trial.state != "infeasible",
        "state": trial.state,
        "reason": trial.reason,
    }
