"""A Python objective on built candidates, here or in worker processes."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import spawn
from pathlib import Path
from typing import Any

import torch

from assembler.assemble.job import Job
from assembler.assemble.product import Product
from assembler.assemble.task import Task, task
from assembler.compile.lower import lower
from assembler.compile.model import Compiled
from assembler.errors import InputError, TaskError
from assembler.graph.core import Graph
from assembler.graph.text import from_text, to_text
from assembler.pipeline.loading import load_into
from assembler.recipe.read import read_text
from assembler.recipe.values import Map
from assembler.recipe.write import to_yaml
from assembler.search.evaluators import Outcome, outcome
from assembler.search.trial import Trial

ObjectiveFunction = Callable[[Compiled], float | Sequence[float]]
_MAIN = ("init_main_from_name", "init_main_from_path")


def begun(
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


def sent(objective: ObjectiveFunction) -> dict[str, Any]:
    """An objective as plain data for worker processes, which import it under its name.

    Raises InputError for one that has none: a lambda, a function inside a function, one typed at a prompt.
    """
    hint = "define it at the top of a module, or search with one worker"
    try:
        data = pickle.dumps(objective)
    except Exception as error:
        said = f"the objective cannot be sent to worker processes: {error}"
        raise InputError(said, hint=hint) from None
    main = {k: v for k, v in spawn.get_preparation_data("objective").items() if k in _MAIN}
    if b"__main__" in data and not main:
        raise InputError("the objective is not in a file that worker processes could import", hint=hint)
    return {"objective": base64.b64encode(data).decode(), "main": main}


def scoring_task(function: Mapping[str, Any], graph: Graph, model: Map, folder: Path, trial: Trial, seed: int) -> Task:
    """The task that scores a candidate: never kept, since nobody knows what an objective depends on."""
    inputs = {
        **function,
        "graph": to_text(graph),
        "recipe": to_yaml(model),
        "folder": str(folder),
        "seed": seed,
        "trial": trial.number,
    }
    label = " ".join(trial.labels.values())
    return task("assembler.pipeline.scoring:score", inputs, label=label, phase="search", kept=False)


def score(job: Job) -> dict[str, Any]:
    """The values of a candidate, as texts, since JSON knows no NaN."""
    objective = _objective(job.inputs["objective"], job.inputs["main"])
    model = read_text(job.inputs["recipe"], "the candidate")
    graph = from_text(job.inputs["graph"])
    module = begun(graph, model, Path(job.inputs["folder"]), seed=job.inputs["seed"])
    job.ready()
    found = outcome(objective(module))
    if found.values is None:
        raise TaskError(found.reason)
    return {"values": [repr(value) for value in found.values]}


def scored(trial: Trial, product: Product) -> Outcome:
    """What `score` found."""
    return Outcome(tuple(map(float, product.result["values"])))


def _objective(text: str, main: Mapping[str, str]) -> ObjectiveFunction:
    """The function that our own parent process has sent; its script is run under another name than `__main__`."""
    spawn.prepare(dict(main))  # does nothing where it was done before
    found: ObjectiveFunction = pickle.loads(base64.b64decode(text))
    return found
