"""Search by training: each candidate of a space is trained on data and scored on the validation split."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from assembler import resources
from assembler.assemble.engines import make_pool
from assembler.assemble.product import Product
from assembler.assemble.runner import Event, Runner
from assembler.assemble.store import Store
from assembler.assemble.task import Task
from assembler.errors import Problem, RecipeError, near
from assembler.pipeline.candidates import BUDGETED, Candidates, recipe_of
from assembler.pipeline.cheaper import finished, mode_of, sampler_of
from assembler.pipeline.evaluating import ByTasks
from assembler.pipeline.exporting import silent, write_text
from assembler.pipeline.initial import needs_of
from assembler.pipeline.loading import places
from assembler.pipeline.training import Setting, training_task
from assembler.recipe.choices import Choice, decide
from assembler.recipe.document import Document
from assembler.recipe.values import Map, plain
from assembler.recipe.write import to_yaml
from assembler.registry import Entry, checks
from assembler.registry.live import describe
from assembler.search.evaluators import Outcome
from assembler.search.log import Log
from assembler.search.pareto import Direction
from assembler.search.samplers import SearchSpec, make
from assembler.search.storage import open_study
from assembler.search.study import Study, Trial, run
from assembler.train.device import resolve
from assembler.train.spec import FitSpec

MEASURED = ("validation", "loss", "train_flops", "steps")
"""What a training gives that a search may be about, beside the costs."""


@dataclass(frozen=True)
class Settings:
    """The `search:` section of a space: data, sampler, number of trials, budget, training settings, seed.

    `objectives` say what is to become of which metric or cost: `{validation: maximize, params: minimize}`. In `mode`
    "trials" every candidate is trained from the start, with "inherit" from its parent's weights, with "supernet" all
    share weights that are trained once, as `supernet` says. Only what passes the `screen` is trained, and `prune` names
    what ends a training early.
    """

    data: str | dict[str, Any]
    sampler: str | dict[str, Any] = "tpe"
    trials: int = 20
    budget: dict[str, float] | None = None
    train: dict[str, Any] | None = None
    seed: int = 0
    objectives: dict[str, str] | None = None
    mode: Literal["trials", "inherit", "supernet"] = "trials"
    screen: dict[str, Any] | None = None
    prune: str | dict[str, Any] | None = None
    supernet: dict[str, Any] | None = None

    @property
    def goals(self) -> dict[str, Direction]:
        """What is to become of what."""
        return dict(self.objectives or {"validation": "maximize"})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Running:
    """How a search is run, which changes none of its results: how many at a time, on what, kept where.

    `timeout` is in seconds, for one trial; `storage` a URL as in `search.storage`, `study` a name in it. `engine`,
    `address` and `gpus` say where workers are, as in `assemble.engines`.
    """

    workers: int = 1
    device: str = "auto"
    timeout: float | None = None
    storage: str | None = None
    study: str | None = None
    engine: str = "processes"
    address: str | None = None
    gpus: float = 0.0


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
    problems = [p for name, goal in (found.get("objectives") or {}).items() for p in _goal_problems(name, goal)]
    if problems:
        raise RecipeError(problems)
    return Settings(**found)


def _goal_problems(name: str, goal: str) -> Iterator[Problem]:
    path, known = f"search.objectives.{name}", (*MEASURED, *BUDGETED)
    if name not in known:
        hint = near(name, known) or f"metrics and costs: {', '.join(known)}"
        yield Problem(f"there is no metric '{name}'", path=path, hint=hint)
    if goal not in ("maximize", "minimize"):
        yield Problem(f"'{name}' is to maximize or to minimize, not to '{goal}'", path=path)


def search_recipe(
    document: Document,
    how: Settings,
    running: Running | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    tell: Callable[[str], None] = silent,
) -> Study:
    """Search the open choices of a recipe; each candidate is a task, so one that was trained before is read.

    With a storage trials are kept and the same search goes on where it was; `tell` hears what changed since.
    """
    running = running or Running()
    candidates = Candidates(document.model, document.name)
    found = candidates.space
    if not found.decisions:
        hint = "give it some: a space's choose:, or {$oneof: [...]} in the recipe"
        raise RecipeError(f"'{document.name}' has no open choices to search", hint=hint)
    candidates.begin()
    store = Store(resources.store_home())
    trainer = Trainer(document, candidates, how, store, str(resolve(running.device)))
    for choice in found.covering():  # each candidate's weights are looked at before anything is trained
        trainer.begin(choice)
    spec = SearchSpec(found, how.seed, len(how.goals), graph=candidates.graph, growth=candidates.growth)
    sampler = make(how.sampler, spec)
    mode = mode_of(how, trainer)
    with ExitStack() as stack:
        log = _log(stack, document, how, running, candidates, tell)
        where: dict[str, Any] = {"address": running.address, "gpus": running.gpus, "devices": trainer.devices}
        pool = make_pool(running.engine, store, running.workers, **where)
        runner = Runner(store, running.workers, on_event, limit=running.timeout, pool=pool)
        evaluator = ByTasks(stack.enter_context(runner), running.workers, mode.task, mode.read, mode.heard)
        sampler = sampler_of(sampler, how, trainer, mode, runner)
        study = run(
            found,
            evaluator,
            sampler,
            how.trials,
            cost=candidates.cost,
            budget=how.budget,
            key=candidates.fingerprint,
            where=found.refusal,
            on_trial=on_trial,
            directions=tuple(how.goals.values()),
            log=log,
        )
        return finished(replace(study, refused=getattr(sampler, "refused", 0)), mode, runner)


def _log(
    stack: ExitStack,
    document: Document,
    how: Settings,
    running: Running,
    candidates: Candidates,
    tell: Callable[[str], None],
) -> Log | None:
    """Where trials are kept, for as long as the search goes on."""
    if not running.storage:
        return None
    name = running.study or document.name
    kept = open_study(running.storage, name, tuple(how.goals.values()), running.workers)
    about = {"data": how.data, "train": how.train or {}, "objectives": list(how.goals)}
    about |= {"mode": how.mode, "supernet": how.supernet or {}} if how.mode != "trials" else {}
    log = stack.enter_context(kept.join(candidates.space, candidates.recipe, about, how.trials))
    for line in log.changes:
        tell(f"the space has changed since: {line}")
    return log


@dataclass(frozen=True)
class Trainer:
    """Trials as trainings: the task of a trial, and what its product is worth."""

    document: Document
    candidates: Candidates
    how: Settings
    store: Store
    device: str

    @property
    def devices(self) -> tuple[str, ...]:
        """The GPUs that workers share out, where there are several and none is asked for by number."""
        several = torch.cuda.device_count() if self.device == "cuda" else 0
        return tuple(map(str, range(several))) if several > 1 else ()

    def begin(self, choice: Choice) -> dict[str, Task]:
        """The weights that a candidate begins with, as a need."""
        where = places(decide(self.document.model, choice), self.document.folder)
        return needs_of(self.store, self.candidates.graph(choice), where, phase="search") if where else {}

    def setting(self, repeat: int) -> Setting:
        """What candidates are trained on and how; those that repeat others have seeds of their own."""
        data = {"name": self.how.data} if isinstance(self.how.data, str) else self.how.data
        return Setting(data, self.how.train or {}, self.how.seed + repeat, self.device)

    def task(self, trial: Trial, more: Mapping[str, Task]) -> Task:
        """The training of a trial, which needs `more` than the weights that its recipe names."""
        label = " ".join(trial.labels.values())
        begin = {**self.begin(trial.choice), **more}
        graph = self.candidates.graph(trial.choice)
        return training_task(graph, self.setting(trial.repeat), begin, label=label, phase="search")

    def read(self, trial: Trial, product: Product) -> Outcome:
        """The values of a trial."""
        known = {**trial.costs, **product.result}
        missing = [name for name in self.how.goals if not isinstance(known.get(name), int | float)]
        if missing:
            return Outcome(None, f"the training gives no '{missing[0]}'", "failed")
        return Outcome(tuple(float(known[name]) for name in self.how.goals))


def write_search(folder: Path, document: Document, study: Study) -> None:
    """Write every candidate to candidates.jsonl, and the recipe with the best one's choices made to best.yaml."""
    rows = [_row(trial) for trial in study.trials]
    write_text(folder / "candidates.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    if best := study.best:
        text = best.recipe or to_yaml(recipe_of(document.model, best.choice, document.name))
        write_text(folder / "best.yaml", text)


def _row(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "choice": trial.labels,
        "params": trial.costs.get("params"),
        "flops": trial.costs.get("flops"),
        "estimate": trial.estimate,
        "score": trial.value,
        "values": list(trial.values or ()),
        "feasible": trial.state != "infeasible",
        "state": trial.state,
        "reason": trial.reason,
        "curve": [[step, *values] for step, values in trial.curve],
    }
