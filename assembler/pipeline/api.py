"""Everything that the command line does, as calls: load, graph, build, plan, search, train, run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from assembler import resources
from assembler.assemble.engines import make_pool
from assembler.assemble.models import Task as Judged
from assembler.assemble.models import Training
from assembler.assemble.pool import Workers
from assembler.assemble.runner import Runner
from assembler.assemble.store import Store
from assembler.assemble.task import Task
from assembler.assemble.train import Trained, train_model
from assembler.compile.model import Compiled
from assembler.errors import InputError
from assembler.graph.core import Graph
from assembler.graph.diff import Diff
from assembler.graph.diff import diff as diff_graphs
from assembler.pipeline import run as running
from assembler.pipeline.candidates import BUDGETED, Candidates
from assembler.pipeline.evaluating import ByTasks
from assembler.pipeline.plan import Plan, plan_model, plan_run
from assembler.pipeline.scoring import ObjectiveFunction, begun, scored, scoring_task, sent
from assembler.pipeline.spec import TASK, read
from assembler.recipe import document as documents
from assembler.recipe.choices import decide
from assembler.recipe.document import Document
from assembler.recipe.values import Map
from assembler.search.evaluators import Evaluator, InProcess
from assembler.search.pareto import Direction
from assembler.search.samplers import SearchSpec, make
from assembler.search.storage import open_study
from assembler.search.study import Study, Trial
from assembler.search.study import run as run_study
from assembler.symbolic.recipe import Recipe, symbolic, tree
from assembler.train.data.core import load as load_data
from assembler.train.device import resolve
from assembler.train.loop import Hooks
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec
from assembler.wiring.build import build as build_graph

Source = str | Path | Document | Recipe | Graph
"""What a model may be given as: a recipe's name or file, a loaded recipe, or a graph."""


def load(ref: str | Path, *overrides: str) -> Recipe:
    """The symbolic recipe of a shipped name (`poolformer@s12`) or a file, with `path=value` overrides.

    Raises RecipeError with every problem of the file, or InputError where there is none.
    """
    return symbolic(documents.load(ref, overrides))


def graph(source: Source, *overrides: str) -> Graph:
    """The frozen graph of a model recipe. Raises RecipeError where a choice is still open."""
    if isinstance(source, Graph):
        return source
    name, model = _model(source, overrides)
    return build_graph(model, name=name)


def diff(a: Source, b: Source) -> Diff:
    """The edits that lead from one model to another; `str` of it is a readable listing."""
    return diff_graphs(graph(a), graph(b))


def build(
    source: Source,
    *overrides: str,
    seed: int | None = 0,
    device: str | torch.device = "cpu",
    weights: str | Path | None = None,
) -> Compiled:
    """The `torch.nn.Module` of a model recipe; its `state_dict` keys are recipe paths.

    Initial weights depend on `seed` and the path of each step alone (None: torch's own generator). `weights` are loaded
    instead: a file, the folder of a Hugging Face checkpoint, or `hf:org/name`; without, those that the recipe names.
    Their names are the recipe's own, or are mapped by its `weights:`.
    """
    if isinstance(source, Graph):
        return begun(source, Map(), Path(), weights, seed=seed, device=device)
    source = source if isinstance(source, Recipe) else _document(source, overrides)
    name, model = _model(source)
    return begun(build_graph(model, name=name), model, _folder(source), weights, seed=seed, device=device)


def plan(source: str | Path | Document, *overrides: str) -> Plan:
    """Shapes, parameters, FLOPs and the size of the space of a recipe; nothing is trained."""
    document = _document(source, overrides)
    return plan_run(read(document)) if document.kind == "run" else plan_model(document)


def search(
    source: Source,
    objective: ObjectiveFunction,
    *,
    sampler: str | Mapping[str, Any] = "tpe",
    trials: int = 100,
    storage: str | None = None,
    study: str | None = None,
    direction: Direction | Sequence[Direction] = "maximize",
    seed: int = 0,
    budget: Mapping[str, float] | None = None,
    workers: int = 1,
    timeout: float | None = None,
    engine: str = "processes",
    address: str | None = None,
    on_trial: Callable[[Any], None] | None = None,
) -> Study:
    """Search the open choices of a recipe: `objective` scores the built module of each candidate.

    It gives one number, or one for each of several directions; `result.front` then has the trials that no other
    dominates. A candidate whose graph was seen before gets the known score. `budget` bounds `params` and `flops`,
    and what breaks the space's `where:` is refused.
    With several `workers` that many processes call it at the same time; it must then stand at the top of a module. A
    candidate that takes longer than `timeout` seconds, raises, or ends its process three times has failed, alone. With
    the `engine` "ray" they are on the cluster at `address` instead.
    With `storage` (`journal:///study.log`, `postgresql://...`, ...) trials are kept under the name of the `study` (the
    recipe's, if none is given): the same call goes on where it was, and may be made by several processes at once; give
    another objective another study. `result.best.labels` says what was chosen and
    `recipe.decided(result.best.choice)` is the winner as a recipe.
    """
    name, model = _model(source)
    candidates = Candidates(model, name, BUDGETED if budget else ())
    found = candidates.space
    if not found.decisions:
        raise InputError(f"'{name}' has no open choices to search", hint="give it some, for instance with pg.oneof")
    directions: Sequence[Direction] = [direction] if isinstance(direction, str) else direction
    candidates.begin()
    with ExitStack() as stack:
        pool = None
        if engine != "processes" or workers > 1:
            pool = make_pool(engine, Store(resources.store_home()), workers, address=address)
        evaluator = _evaluator(stack, candidates, _folder(source), objective, (seed, workers, timeout, pool))
        log = None
        if storage:
            kept = open_study(storage, study or name, directions, workers)
            log = stack.enter_context(kept.join(found, candidates.recipe, wanted=trials))
        return run_study(
            found,
            evaluator,
            make(sampler, SearchSpec(found, seed, len(directions), graph=candidates.graph, growth=candidates.growth)),
            trials,
            cost=candidates.cost if budget or found.costs else None,
            budget=budget,
            key=candidates.fingerprint,
            where=found.refusal,
            on_trial=on_trial,
            directions=directions,
            log=log,
        )


def _evaluator(
    stack: ExitStack,
    candidates: Candidates,
    folder: Path,
    objective: ObjectiveFunction,
    how: tuple[int, int, float | None, Workers | None],
) -> Evaluator:
    """What scores candidates with an objective: this process, or as many others as there are to be workers."""
    (seed, workers, timeout, pool), model = how, candidates.model
    if pool is None:

        def score(trial: Trial) -> float | Sequence[float]:
            graph, decided = candidates.graph(trial.choice), decide(model, trial.choice)
            return objective(begun(graph, decided, folder, seed=seed + trial.repeat))

        return InProcess(score, timeout)
    function = sent(objective)

    def task_of(trial: Trial) -> Task:
        graph, decided = candidates.graph(trial.choice), decide(model, trial.choice)
        return scoring_task(function, graph, decided, folder, trial, seed + trial.repeat)

    runner = stack.enter_context(Runner(Store(resources.store_home()), workers, limit=timeout, pool=pool))
    return ByTasks(runner, workers, task_of, scored)


def train(
    source: Source,
    data: str | Mapping[str, Any],
    *,
    settings: Mapping[str, Any] | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    hooks: Hooks | None = None,
) -> Trained:
    """Train a model recipe on a data set (`digits`, `{"name": "fashion_mnist", "train": 5000}`).

    `settings` are those of a recipe's `train:` (epochs, lr, batch, ...). It begins with the `weights` given, as in
    `build`, or with those that the recipe names. The test split is not touched.
    """
    spec = {"name": data} if isinstance(data, str) else data
    module = build(source, seed=seed, weights=weights)
    wanted = module.meta["graph"]
    value = wanted.outputs[0][0]
    objective = Objective.from_spec([{**TASK, "value": value}])
    training = Training(objective, FitSpec.from_spec(settings or {}), seed)
    data_, task, there = load_data(spec), Judged(objective), resolve(device)
    return train_model(wanted, data_, task, training, weights=module.state_dict(), device=there, hooks=hooks)


def run(
    source: str | Path | Document,
    *overrides: str,
    workers: int | None = None,
    device: str = "auto",
    on_event: Callable[[Any], None] | None = None,
    on_phase: Callable[[str], None] | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Run a recipe of kind `run`: its folder and its summary. What the parts store holds already is not done again."""
    document = _document(source, overrides)
    return running.run_recipe(document, workers=workers, device=device, on_event=on_event, on_phase=on_phase)


def _document(source: str | Path | Document, overrides: Sequence[str]) -> Document:
    return source if isinstance(source, Document) else documents.load(source, overrides)


def _folder(source: Source) -> Path:
    """What files are relative to that a recipe names, where it does not say itself where it is written."""
    if isinstance(source, Recipe):
        return source.home
    return source.folder if isinstance(source, Document) else Path()


def _model(source: Source, overrides: Sequence[str] = ()) -> tuple[str, Map]:
    if isinstance(source, Recipe):
        name = source.sym_getattr("name") if source.sym_hasattr("name") else "model"
        return str(name), tree(source)
    if isinstance(source, Graph):
        raise InputError("a graph has no recipe", hint="give the recipe that it was made from")
    found = _document(source, overrides)
    return found.name, found.model
