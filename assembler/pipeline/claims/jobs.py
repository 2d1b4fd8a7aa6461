"""What a trained model is worth on a split, by any metric: a task of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from assembler.assemble.fitting import joined
from assembler.assemble.frozen import Frozen, compared
from assembler.assemble.hybrid import value_paths, values_of
from assembler.assemble.job import Job
from assembler.assemble.judging import score
from assembler.assemble.models import Model, Task, named
from assembler.assemble.weights import load_there
from assembler.compile.lower import lower
from assembler.graph.modes import in_mode
from assembler.graph.values import with_items
from assembler.pipeline.jobs import model_of, teachers_of
from assembler.train.data.core import Split, load, load_test
from assembler.train.device import resolve
from assembler.train.evaluate import evaluating, measure
from assembler.train.objective import Objective
from assembler.train.steps import free


def assess(job: Job) -> dict[str, Any]:
    """The metric of a model on a split: one of the run's task by name, or an objective over named values."""
    model, device = model_of(job.needs["model"]), resolve(job.inputs["device"])
    name, metric = job.inputs["split"], job.inputs["metric"]
    split = load_test(job.inputs["data"]) if name == "test" else getattr(load(job.inputs["data"]), name)
    if isinstance(metric, str):
        task = Task(Objective.from_spec(job.inputs["task"], path="task"), metric)
        module = lower(model.graph)
        load_there(module, model.weights)
        value = score(module.to(device), model.graph, split.to(device), task, f"the {name} loss")[0]
        return {"value": value, "samples": len(split)}
    objective = Objective.from_spec(metric, path="metric")
    beside = compared(teachers_of(job), objective.needs, device=device, given=objective.given)
    return {"value": _objective(model, split, objective, device, beside), "samples": len(split)}


def _objective(
    model: Model, split: Split, objective: Objective, device: torch.device, beside: Sequence[Frozen]
) -> float:
    theirs = {value for one in beside for value in one.names.values()}
    wanted = [need for need in sorted(objective.needs) if need not in split.fields and need not in theirs]
    graph = with_items(in_mode(model.graph, "eval"), wanted)
    paths = value_paths(graph, wanted)
    taken = set(graph.input_names)
    names = {free(value, taken): value for value in paths}
    graph = values_of(graph, {safe: paths[value] for safe, value in names.items()})
    module = lower(graph)
    load_there(module, model.weights)
    with evaluating(module.to(device)), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return measure(joined(beside, named(module, graph, names)), split.to(device), objective)
