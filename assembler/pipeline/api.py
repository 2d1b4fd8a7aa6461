"""Everything that the command line does, as calls: load, graph, build, plan, search, train, run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from assembler.assemble.models import Task, Training
from assembler.assemble.train import Trained, train_model
from assembler.compile.lower import lower
from assembler.compile.model import Compiled
from assembler.errors import InputError
from assembler.graph.core import Graph
from assembler.graph.diff import Diff
from assembler.graph.diff import diff as diff_graphs
from assembler.pipeline import run as running
from assembler.pipeline.candidates import BUDGETED, Candidates
from assembler.pipeline.loading import load_into
from assembler.pipeline.plan import Plan, plan_model, plan_run
from assembler.pipeline.spec import TASK, read
from assembler.recipe import document as documents
from assembler.recipe.choices import decide
from assembler.recipe.document import Document
from assembler.recipe.values import Map
from assembler.search.pareto import Direction
from assembler.search.samplers import SearchSpec, make
from assembler.search.storage import open_study
from assembler.search.study import Study
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
        return _begun(source, Map(), Path(), weights, seed=seed, device=device)
    source = source if isinstance(source, Recipe) else _document(source, overrides)
    name, model = _model(source)
    return _begun(build_graph(model, name=name), model, _folder(source), weights, seed=seed, device=device)


def plan(source: str | Path | Document, *overrides: str) -> Plan:
    """Shapes, parameters, FLOPs and the size of the space of a recipe; nothing is trained."""
    document = _document(source, overrides)
    return plan_run(read(document)) if document.kind == "run" else plan_model(document)


def search(
    source: Source,
    objective: Callable[[Compiled], float | Sequence[float]],
    *,
    sampler: str | Mapping[str, Any] = "tpe",
    trials: int = 100,
    storage: str | None = None,
    direction: Direction | Sequence[Direction] = "maximize",
    seed: int = 0,
    budget: Mapping[str, float] | None = None,
    on_trial: Callable[[Any], None] | None = None,
) -> Study:
    """Search the open choices of a recipe: `objective` scores the built module of each candidate.

    It gives one number, or one for each of several directions; `result.front` then has the trials that no other
    dominates. A candidate whose graph was seen before gets the known score. `budget` bounds `params` and `flops`,
    and what breaks the space's `where:` is refused.
    With `storage` (`journal:///study.log`, `sqlite:///study.db`, ...) trials are kept, and the same call goes on where
    it was; give another objective another storage. `result.best.labels` says what was chosen and
    `recipe.decided(result.best.choice)` is the winner as a recipe.
    """
    name, model = _model(source)
    candidates = Candidates(model, name, BUDGETED if budget else ())
    found, made = candidates.space, candidates.graph
    folder = _folder(source)
    if not found.decisions:
        raise InputError(f"'{name}' has no open choices to search", hint="give it some, for instance with pg.oneof")
    directions: Sequence[Direction] = [direction] if isinstance(direction, str) else direction
    log = open_study(storage, name, directions) if storage else None

    def tell(trial: Any) -> None:
        if log:
            log.add(found, trial)
        if on_trial:
            on_trial(trial)

    candidates.begin()
    return run_study(
        found,
        lambda choice: objective(_begun(made(choice), decide(model, choice), folder, seed=seed)),
        make(sampler, SearchSpec(found, seed, len(directions), graph=made, growth=candidates.growth)),
        trials,
        cost=candidates.cost if budget or found.costs else None,
        budget=budget,
        key=candidates.fingerprint,
        where=found.refusal,
        on_trial=tell,
        directions=directions,
        history=log.history(found) if log else (),
    )


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
    data_, task, there = load_data(spec), Task(objective), resolve(device)
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


def _begun(
    graph: Graph,
    model: Map,
    folder: Path,
    weights: str | Path | None = None,
    *,
    seed: int | None = 0,
    device: str | torch.device = "cpu",
) -> Compiled:
    """The module of a graph with the weights given, or those that its recipe names."""
    module = lower(graph, seed=seed, device=device)
    load_into(module, model, folder, weights)
    if isinstance(model.get("graph"), Map):
        module.meta["recipe"] = model
    return module


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
