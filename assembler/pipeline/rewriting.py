"""Rewrites in runs and as a call: of trained models, of modules and of graphs."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn

from assembler.assemble.frozen import rows_of
from assembler.assemble.job import Job
from assembler.assemble.judging import assess
from assembler.assemble.models import Model
from assembler.assemble.task import module_code
from assembler.compile.weights import save_weights
from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.graph.text import from_text
from assembler.pipeline.jobs import WEIGHTS, data_of, model_of, task_of
from assembler.pipeline.sources import graph
from assembler.registry import lookup
from assembler.rewrites.core import Rewrite, Values
from assembler.rewrites.drive import ALL, rewritten
from assembler.rewrites.modules import filled, rewritten_module
from assembler.rewrites.spec import Order, Written, order, orders
from assembler.train.data.core import Split
from assembler.train.device import resolve

SAMPLES = 256
"""How many samples rewrites see that go by a model's values."""
METHOD = tuple(
    f"assembler.rewrites.{name}" for name in ("arguments", "carry", "core", "drive", "ops", "traits", "view")
)
"""Modules that every rewritten product depends on, beside the rewrites themselves."""


@overload
def rewrite(source: nn.Module, what: Written | Rewrite, at: str = ALL) -> nn.Module: ...
@overload
def rewrite(source: Any, what: Written | Rewrite, at: str = ALL) -> Graph: ...
def rewrite(source: Any, what: Written | Rewrite, at: str = ALL) -> nn.Module | Graph:
    """A model rewritten: a built module gives a new module with its weights carried over, anything else a graph.

    `what` is a rewrite, its name, or a mapping such as `{"rewrite": "low_rank", "rank": 8}`. `at` is a path, a
    container, or a pattern in which `*` stands for one part; by default all sites. Raises RecipeError for a rewrite
    that there is not or options that it does not take, GraphError where `at` means no site; one that only makes
    simpler what there is (`fold_batch_norm`, `expand`, ...) may find nothing to do and gives the model as it is.
    """
    wanted = Order(what, at) if isinstance(what, Rewrite) else order(what, at)
    if isinstance(source, nn.Module):
        return rewritten_module(source, wanted.rewrite, wanted.at)
    return rewritten(graph(source), wanted.rewrite, at=wanted.at)[0]


def all_applied(
    graph: Graph, wanted: Sequence[Order], state: Mapping[str, Tensor] | None = None, split: Split | None = None
) -> tuple[Graph, dict[str, Tensor] | None]:
    """A graph after several rewrites in order, and its weights if `state` is given.

    Those that go by the model's values see it on samples of `split`. Raises RecipeError where there is none.
    """
    found = None if state is None else dict(state)
    for one in wanted:
        what = one.rewrite
        if what.needs_values:
            if found is None or split is None:
                raise RecipeError(f"{what.name} goes by values on data", hint="say it in a phase `rewrite` of a run")
            what = what.informed(seen(Model(graph, found), split))
        graph, found = rewritten(graph, what, found, one.at)
    return graph, found


def seen(model: Model, split: Split) -> Values:
    """The values of a model on the first samples of a split."""

    @functools.cache
    def values(path: str, axis: int = -1) -> Tensor:
        return torch.cat(list(rows_of(model, path, split, axis, SAMPLES)))

    return values


def planned(graph: Graph, apply: Sequence[Written]) -> Graph | None:
    """What a model will be after the rewrites of a phase; None where its weights decide.

    Raises GraphError where a rewrite finds no place.
    """
    wanted = orders(apply)
    return None if any(one.rewrite.needs_model for one in wanted) else all_applied(graph, wanted)[0]


def code(wanted: Sequence[Written]) -> list[str]:
    """Digests of the code that rewrites depend on."""
    names = {one if isinstance(one, str) else str(one.get("rewrite")) for one in wanted}
    return sorted([*(module_code(m) for m in METHOD), *(_code(name) for name in names)])


def _code(name: str) -> str:
    entry = lookup("rewrite", name)
    return module_code(entry.module) if entry.module.startswith("assembler.") else entry.code


def rewrite_model(job: Job) -> dict[str, Any]:
    """A trained model after rewrites, and what it is worth on the validation split."""
    source = model_of(job.needs["model"])
    data = data_of(job)
    graph, state = all_applied(source.graph, orders(job.inputs["apply"]), source.weights, data.train)
    assert state is not None and graph == from_text(job.inputs["graph"])
    save_weights(state, job.out / WEIGHTS)
    device = resolve(job.inputs["device"])
    score, loss = assess(filled(graph, state).to(device), graph, data, task_of(job), device)
    before = job.needs["model"].result.get("validation", score)
    return {"validation": score, "loss": loss, "before": before, "train_flops": 0, "steps": 0}
