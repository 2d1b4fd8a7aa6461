"""A search from a recipe to its study: candidates are trained and validated, or scored by a function of the user's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
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
from assembler.errors import InputError, Problem, RecipeError
from assembler.pipeline.checking.search import MEASURED as MEASURED
from assembler.pipeline.checking.search import goal_problems
from assembler.pipeline.exporting import silent, write_text
from assembler.pipeline.search.candidates import Candidates, recipe_of
from assembler.pipeline.search.cheaper import finished, mode_of, sampler_of
from assembler.pipeline.search.evaluating import ByTasks
from assembler.pipeline.search.modes import Trials
from assembler.pipeline.search.scoring import ObjectiveFunction, Scorer
from assembler.pipeline.training import Setting, training_task
from assembler.pipeline.weights.initial import needs_of
from assembler.pipeline.weights.loading import places
from assembler.recipe.choices import Choice, decide
from assembler.recipe.document import Document
from assembler.recipe.values import Map, plain
from assembler.recipe.write import to_yaml
from assembler.registry import Entry, checks
from assembler.registry.live import describe
from assembler.search.evaluators import Evaluator, Outcome
from assembler.search.log import Log
from assembler.search.pareto import Direction
from assembler.search.samplers import Sampler, SearchSpec, make
from assembler.search.storage import open_study
from assembler.search.study import Study, Trial, run
from assembler.train.device import resolve
from assembler.train.spec import FitSpec


@dataclass(frozen=True)
class Settings:
    """The `search:` section of a space: data, sampler, number of trials, budget, training settings, seed.

    `objectives` say what is to become of which metric or cost: `{validation: maximize, params: minimize}`. In `mode`
    "trials" every candidate is trained from the start, with "inherit" from its parent's weights, with "supernet" all
    share weights that are trained once, as `supernet` says; "parts" is for runs, whose slots have trained parts. Only
    what passes the `screen` is trained, and `prune` names what ends a training early.
    """

    data: str | dict[str, Any] | None = None
    sampler: str | dict[str, Any] = "tpe"
    trials: int = 20
    budget: dict[str, float] | None = None
    train: dict[str, Any] | None = None
    seed: int = 0
    objectives: dict[str, str] | None = None
    mode: Literal["trials", "inherit", "supernet", "parts"] = "trials"
    screen: dict[str, Any] | None = None
    prune: str | dict[str, Any] | None = None
    supernet: dict[str, Any] | None = None

    @property
    def goals(self) -> dict[str, Direction]:
        """What is to become of what."""
        return dict(self.objectives or {"validation": "maximize"})  # type: ignore[arg-type]

    def data_for(self, why: str) -> dict[str, Any]:
        """The data set. Raises RecipeError, with the reason why it is needed, where none is named."""
        if self.data is None:
            raise RecipeError(f"'search' needs 'data': {why}", path="search", hint="for instance data: digits")
        return {"name": self.data} if isinstance(self.data, str) else self.data


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

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"'workers' is how many work at the same time, at least 1, not {self.workers}")
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"'timeout' is the seconds that a trial may take, more than 0, not {self.timeout:g}")
        if self.engine != "ray" and (self.address or self.gpus):
            said = "address" if self.address else "gpus"
            raise InputError(f"'{said}' is for workers on a Ray cluster", hint="give the engine too: ray")


def signature() -> Entry:
    """`Settings` as a schema."""
    return describe("search", "", Settings, {})


def settings(document: Document, given: Mapping[str, Any], measured: Sequence[str] | None = MEASURED) -> Settings:
    """The settings of a search: the recipe's `search:` section, with `given` laid over it.

    Objectives are costs and what is `measured`; None: a function of the user's measures what it likes.
    """
    section = document.tree.get("search", Map())
    if not isinstance(section, Map):
        raise RecipeError("'search' must be a mapping of settings", hint="for instance {data: digits, trials: 20}")
    found = {**plain(section), **{k: v for k, v in given.items() if v is not None}}
    problems = list(checks.problems(signature(), found, section.key_span, span=section.span, path="search"))
    if not problems and found.get("trials", 1) < 1:
        problems.append(Problem(f"a search needs a trial, not {found['trials']}", path="search.trials"))
    if problems:
        raise RecipeError(problems)
    FitSpec.from_spec(found.get("train") or {}, path="search.train")
    problems = [
        p for name, goal in (found.get("objectives") or {}).items() for p in goal_problems(name, goal, measured)
    ]
    if problems:
        raise RecipeError(problems)
    return Settings(**found)


def search_recipe(
    document: Document,
    how: Settings,
    running: Running | None = None,
    objective: ObjectiveFunction | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    tell: Callable[[str], None] = silent,
) -> Study:
    """Search the open choices of a recipe; each candidate is a task, so one that was trained before is read.

    With an `objective` that scores the module of each candidate nothing is trained, and it is called in this process
    if there is one worker. With a storage trials are kept and the same search goes on where it was; `tell` hears what
    changed since.
    """
    running = running or Running()
    candidates = opened(document)
    store = Store(resources.store_home())
    maker: Trainer | Scorer = (
        Trainer(document, candidates, how, store, str(resolve(running.device)))
        if objective is None
        else Scorer(document, candidates, how, objective, running.workers > 1 or running.engine != "processes")
    )
    search = Search.of(maker)
    with ExitStack() as stack:
        pool = None
        if isinstance(maker, Trainer) or maker.away:
            where: dict[str, Any] = {"address": running.address, "gpus": running.gpus, "devices": maker.devices}
            pool = make_pool(running.engine, store, running.workers, **where)
        log = _log(stack, maker, running, tell)
        runner = None
        if pool:
            runner = Runner(store, running.workers, on_event, limit=running.timeout, pool=pool)
            stack.enter_context(runner)
        return search.run(runner, running, log, on_trial)


def opened(document: Document) -> Candidates:
    """The candidates of a recipe. Raises RecipeError where there are none."""
    candidates = Candidates(document.model, document.name)
    if not candidates.space.decisions:
        hint = "give it some: a space's choose:, or {$oneof: [...]} in the recipe"
        raise RecipeError(f"'{document.name}' has no open choices to search", hint=hint)
    candidates.begin()
    return candidates


@dataclass(frozen=True)
class Search:
    """A search that is ready to begin: what makes trials and how, what asks for them."""

    maker: Trainer | Scorer
    mode: Trials
    sampler: Sampler

    @staticmethod
    def of(maker: Trainer | Scorer) -> Search:
        """The search that the settings of a maker describe. Raises RecipeError or InputError for wrong ones."""
        how, candidates = maker.how, maker.candidates
        spec = SearchSpec(candidates.space, how.seed, len(how.goals), graph=candidates.graph, growth=candidates.growth)
        sampler = make(how.sampler, spec)
        mode = mode_of(how, maker)
        maker.check()
        return Search(maker, mode, sampler)

    def run(
        self,
        runner: Runner | None,
        running: Running,
        log: Log | None = None,
        on_trial: Callable[[Trial], None] | None = None,
    ) -> Study:
        """Search with the workers of a runner, or in this process."""
        how, mode, candidates = self.maker.how, self.mode, self.maker.candidates
        evaluator: Evaluator
        if runner is not None:
            evaluator = ByTasks(runner, running.workers, mode.task, mode.read, mode.heard)
        else:
            assert isinstance(self.maker, Scorer)
            evaluator = self.maker.here(mode.past, running.timeout)
        sampler = sampler_of(self.sampler, self.maker, mode, runner)
        study = run(
            candidates.space,
            evaluator,
            sampler,
            how.trials,
            cost=candidates.cost,
            budget=how.budget,
            key=candidates.fingerprint,
            where=candidates.space.refusal,
            on_trial=on_trial,
            directions=tuple(how.goals.values()),
            log=log,
        )
        return finished(replace(study, refused=getattr(sampler, "refused", 0)), mode, runner)


def _log(stack: ExitStack, maker: Trainer | Scorer, running: Running, tell: Callable[[str], None]) -> Log | None:
    """Where trials are kept, for as long as the search goes on."""
    if not running.storage:
        return None
    how, candidates = maker.how, maker.candidates
    name = running.study or maker.document.name
    kept = open_study(running.storage, name, tuple(how.goals.values()), running.workers)
    joined = kept.join(candidates.space, candidates.recipe, maker.about, how.trials, candidates.text)
    log = stack.enter_context(joined)
    for line in log.changes:
        tell(f"the space has changed since: {line}")
    return log


@dataclass(frozen=True)
class Trainer:
    """Trials as trainings: the task of a trial, and what its product is worth; `loss` and `metric` as in `Setting`."""

    document: Document
    candidates: Candidates
    how: Settings
    store: Store
    device: str
    loss: Mapping[str, Any] | None = None
    metric: str = "accuracy"
    phase: str = "search"

    seen = ("validation",)

    @property
    def about(self) -> dict[str, Any]:
        """What the values of trials depend on beside their choices."""
        how = self.how
        found = {"data": how.data, "train": how.train or {}, "objectives": list(how.goals)}
        return found | ({"mode": how.mode, "supernet": how.supernet or {}} if how.mode != "trials" else {})

    @property
    def data(self) -> dict[str, Any]:
        """The data that candidates are trained on."""
        return self.how.data_for("its candidates are trained")

    @property
    def steps(self) -> int | None:
        """The epochs of a training, if it counts by them."""
        spec = FitSpec.from_spec(self.how.train or {})
        return None if spec.steps else math.ceil(spec.epochs)

    def check(self) -> None:
        """Look at the data and at the weights that each candidate begins with, before anything is trained."""
        _ = self.data
        for choice in self.candidates.space.covering():
            self.begin(choice)

    @property
    def devices(self) -> tuple[str, ...]:
        """The GPUs that workers share out, where there are several and none is asked for by number."""
        several = torch.cuda.device_count() if self.device == "cuda" else 0
        return tuple(map(str, range(several))) if several > 1 else ()

    def begin(self, choice: Choice) -> dict[str, Task]:
        """The weights that a candidate begins with, as a need."""
        where = places(decide(self.document.model, choice), self.document.folder)
        return needs_of(self.store, self.candidates.graph(choice), where, phase=self.phase) if where else {}

    def setting(self, repeat: int) -> Setting:
        """What candidates are trained on and how; those that repeat others have seeds of their own."""
        return Setting(self.data, self.how.train or {}, self.how.seed + repeat, self.device, self.loss, self.metric)

    def task(self, trial: Trial, more: Mapping[str, Task]) -> Task:
        """The training of a trial, which needs `more` than the weights that its recipe names."""
        label = " ".join(trial.labels.values())
        begin = {**self.begin(trial.choice), **more}
        graph = self.candidates.graph(trial.choice)
        return training_task(graph, self.setting(trial.repeat), begin, label=label, phase=self.phase)

    def read(self, trial: Trial, product: Product) -> Outcome:
        """The values of a trial."""
        known = {**trial.costs, **product.result}
        missing = [name for name in self.how.goals if not isinstance(known.get(name), int | float)]
        if missing:
            return Outcome(None, f"the training gives no '{missing[0]}'", "failed")
        return Outcome(tuple(float(known[name]) for name in self.how.goals))


def write_search(folder: Path, document: Document, study: Study) -> None:
    """Write every candidate to candidates.jsonl, and the recipe with the best one's choices made to best.yaml."""
    rows = [row_of(trial) for trial in study.trials]
    write_text(folder / "candidates.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    if best := study.best:
        text = best.recipe or to_yaml(recipe_of(document.model, best.choice, document.name))
        write_text(folder / "best.yaml", text)


def row_of(trial: Trial) -> dict[str, Any]:
    """A trial as a row of candidates.jsonl."""
    return {
        "number": trial.number,
        "parent": trial.parent,
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
