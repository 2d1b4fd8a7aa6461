"""Everything that the command line does, as calls: load, build, plan, search, train, run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from assembler.assemble.engines import Engine
from assembler.assemble.models import Task as Judged
from assembler.assemble.models import Training
from assembler.assemble.train import Trained, train_model
from assembler.compile.model import Compiled
from assembler.errors import InputError
from assembler.graph.core import Graph
from assembler.graph.diff import Diff
from assembler.graph.diff import diff as diff_graphs
from assembler.pipeline import run as running
from assembler.pipeline.checking.search import MEASURED
from assembler.pipeline.checking.training import check as check_training
from assembler.pipeline.checking.training import read_metric
from assembler.pipeline.plan import Plan, plan_model, plan_run
from assembler.pipeline.search.run import search_recipe
from assembler.pipeline.search.scoring import ObjectiveFunction, begun
from assembler.pipeline.search.settings import Running
from assembler.pipeline.search.settings import settings as settings_of
from assembler.pipeline.sources import Source, document, folder, graph, model_of, searched
from assembler.pipeline.spec import read
from assembler.pipeline.training import Setting
from assembler.pipeline.weights.pins import relative
from assembler.recipe import document as documents
from assembler.recipe.document import Document
from assembler.recipe.values import Map
from assembler.search.pareto import Direction
from assembler.search.study import Study
from assembler.symbolic.recipe import Recipe, symbolic
from assembler.train.data.core import load as load_data
from assembler.train.device import resolve
from assembler.train.loop import Hooks
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec, named_data
from assembler.wiring.build import build as build_graph


def load(ref: str | Path, *overrides: str) -> Recipe:
    """The symbolic recipe of a shipped name (`poolformer@s12`) or a file, with `path=value` overrides.

    Raises RecipeError with every problem of the file, or InputError where there is none.
    """
    found = documents.load(ref, overrides)
    return symbolic(replace(found, model=relative(found.model, found.folder)))


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
    source = source if isinstance(source, Recipe) else document(source, overrides)
    name, model = model_of(source)
    return begun(build_graph(model, name=name), model, folder(source), weights, seed=seed, device=device)


def plan(source: str | Path | Document, *overrides: str) -> Plan:
    """Shapes, parameters, FLOPs and the size of the space of a recipe; nothing is trained."""
    found = document(source, overrides)
    return plan_run(read(found)) if found.kind == "run" else plan_model(found)


def search(
    source: Source,
    objective: ObjectiveFunction | None = None,
    *,
    direction: Direction | Sequence[Direction] | None = None,
    workers: int = 1,
    timeout: float | None = None,
    storage: str | None = None,
    study: str | None = None,
    engine: str = "processes",
    address: str | None = None,
    gpus: float = 0.0,
    device: str = "auto",
    on_trial: Callable[[Any], None] | None = None,
    **settings: Any,
) -> Study:
    """Search the open choices of a recipe; candidates are trained, or an `objective` scores the module of each.

    `settings` are those of a recipe's `search:` section and go over what it says there: `sampler`, `trials`, `seed`,
    `budget`, `screen`, `prune`, `objectives`, and for trainings `data`, `train`, `mode` and `supernet`
    (docs/search.md). What breaks the space's `where:` or the `budget` is refused, and a candidate whose graph was seen
    before gets the known values.

    An objective gives a number, or one for each of several directions; `result.front` then has the trials that no
    other dominates. With `objectives={"score": "maximize", "params": "minimize"}` costs are reckoned and it gives the
    others, in order. If it yields numbers, `prune` may end it after each, and the last is its score. With several
    `workers` that many processes call it at the same time; it must then stand at the top of a module.

    A candidate that takes longer than `timeout` seconds, raises, or ends its process three times has failed, alone.
    With the `engine` "ray" workers are on the cluster at `address`, each with a share of `gpus`. With `storage`
    (`journal:///study.log`, `postgresql://...`, ...) trials are kept under the name of the `study` (the recipe's, if
    none is given): the same call goes on where it was, and may be made by several processes at once; give another
    objective another study. `result.best.labels` says what was chosen, `recipe.decided(result.best.choice)` is the
    winner as a recipe.
    """
    found = searched(source)
    if objective is None and direction is not None:
        hint = "for instance objectives={'validation': 'maximize', 'params': 'minimize'}"
        raise InputError("'direction' is that of an objective function, and none is given", hint=hint)
    if objective is not None:
        settings = {"objectives": _objectives(direction or "maximize"), **settings}
    how = settings_of(found, settings, MEASURED if objective is None else None)
    running = Running(workers, device, timeout, storage, study, engine, address, gpus)
    return search_recipe(found, how, running, objective, on_trial=on_trial)


def _objectives(direction: Direction | Sequence[Direction]) -> dict[str, str]:
    if isinstance(direction, str):
        return {"value": direction}
    return {f"value {n}": one for n, one in enumerate(direction, 1)}


def train(
    source: Source,
    data: str | Mapping[str, Any],
    *,
    settings: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    metric: str | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    hooks: Hooks | None = None,
) -> Trained:
    """Train a model recipe on a data set (`digits`, `{"name": "fashion_mnist", "train": 5000}`).

    `settings` are a recipe's `train:` (epochs, lr, batch, ...), `task` is what a run's `task:` says: by default
    the labels, `{"value": "loss"}` for a model that carries its own loss; `metric` is a run's. It begins with the
    `weights` given, as in `build`, or with those that the recipe names. The test split is not touched.
    """
    spec = named_data(data)
    module = build(source, seed=seed, weights=weights)
    wanted = module.meta["graph"]
    how = Setting(spec, settings or {}, seed, task=task, metric=read_metric(metric, task))
    check_training(wanted, how, Map())
    objective = Objective.from_spec(how.term(wanted), path="task")
    training = Training(objective, FitSpec.from_spec(how.train), seed)
    judged, there = Judged(objective, how.metric), resolve(device)
    begin = module.state_dict()
    return train_model(wanted, load_data(spec), judged, training, weights=begin, device=there, hooks=hooks)


def run(
    source: str | Path | Document,
    *overrides: str,
    workers: int | None = None,
    device: str = "auto",
    engine: str = "processes",
    address: str | None = None,
    gpus: float = 0.0,
    on_event: Callable[[Any], None] | None = None,
    on_phase: Callable[[str], None] | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Run a recipe of kind `run`: its folder and its summary. What the parts store holds already is not done again.

    With the `engine` "ray" workers are on the cluster at `address`, each with a share of `gpus`.
    """
    found, there = document(source, overrides), Engine(engine, address, gpus)
    return running.run_recipe(found, workers=workers, device=device, engine=there, on_event=on_event, on_phase=on_phase)
