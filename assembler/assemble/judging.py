"""What a model is worth for a task on a split: its loss and its metric, in evaluation, or as in training where the task
reads what there is in training alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from assembler.assemble.fitting import joined
from assembler.assemble.hybrid import value_paths, with_values
from assembler.assemble.models import Task, named
from assembler.assemble.sharing import sharing
from assembler.compile.watch import first_bad
from assembler.errors import Problem, RecipeError, TrainingError
from assembler.graph.core import Graph
from assembler.graph.modes import Mode, in_mode
from assembler.graph.values import with_items
from assembler.modules.regular import DropPath
from assembler.train.data.core import Data, Split
from assembler.train.evaluate import Forward, evaluating, measure
from assembler.train.steps import free
from assembler.train.terms import Term

_FEW = 64
"""Samples that are looked at step by step for what made a loss infinite or NaN."""
_MOST = 700.0  # e to the power of more overflows
_QUIET = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm, DropPath)


def assess(
    module: nn.Module,
    graph: Graph,
    data: Data,
    task: Task,
    device: torch.device | str = "cpu",
    names: Mapping[str, str] | None = None,
) -> tuple[float, float]:
    """(metric, task loss) of a whole model on the validation split; `names` as in `score`.

    Raises TrainingError where the loss is not finite.
    """
    what = f"the validation loss of {graph.name}"
    return score(module, graph, data.validation.to(device), task, what, names)


def score(
    module: nn.Module,
    graph: Graph,
    split: Split,
    task: Task,
    what: str = "the loss",
    names: Mapping[str, str] | None = None,
) -> tuple[float, float]:
    """(metric, task loss) of a model on a split; `names` are the values that outputs of the graph stand for.

    Random steps draw the same numbers whenever this is called. Raises TrainingError where the loss is not finite,
    RecipeError for a metric that compares where the task has nothing to compare with.
    """
    forward, mode = _seen(module, graph, split, task, names or {})
    held = evaluating if mode == "eval" else as_in_training
    with held(module), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss = measure(forward, split, task.loss)
        if not math.isfinite(loss):
            raise TrainingError(_traced(f"{what} is {loss}", forward, split.head(_FEW), task))
        if task.metric in ("loss", "perplexity"):
            return loss if task.metric == "loss" else math.exp(min(loss, _MOST)), loss
        term = next((t for t in task.loss.terms if t.target), None)
        if term is None:
            hint = "metric: loss, or a task that has a target"
            raise RecipeError(f"the metric '{task.metric}' compares, and the task compares nothing", hint=hint)
        torch.manual_seed(0)
        return _compared(forward, split, task, term), loss


def _traced(said: str, forward: Forward, split: Split, task: Task) -> Problem:
    """What is said of a loss that is not finite, with the step where that begins if these samples show it."""
    found = first_bad(lambda: torch.tensor(measure(forward, split, task.loss)))
    return Problem(f"{said}; {found.message}", found.span, found.path) if found else Problem(said)


def _compared(forward: Forward, split: Split, task: Task, term: Term) -> float:
    """The metric of what a term compares, which steps of the task may have made."""
    given, axis = task.loss.compares(term), int(term.arg("axis", 1))
    both = joined([forward], given)
    return measure(both, split, task.metric, value="value", target="target", axis=axis)


def needed(task: Task, split: Split, outputs: Iterable[str] = ()) -> list[str]:
    """The values of the model itself that a task reads: no other model's, no field of the data but `outputs`."""
    own, theirs = set(outputs), task.theirs
    return sorted(n for n in task.loss.needs if n not in theirs and (n not in split.fields or n in own))


def mode_of(graph: Graph, values: Iterable[str]) -> Mode:
    """The mode that gives all of these values: evaluation, unless one of them is there in training alone."""
    evaluation = in_mode(graph, "eval")
    known = {*dict(evaluation.outputs), *evaluation.nodes, *evaluation.names, *evaluation.input_names}
    return "eval" if all(value in known for value in values) else "train"


def watched(graph: Graph, values: Iterable[str]) -> tuple[Graph, dict[str, str]]:
    """The graph with every one of `values` among its outputs, and the outputs that stand for those which were none."""
    values = list(values)
    whole = with_items(graph, values)
    outputs, taken = dict(graph.outputs), set(dict(graph.outputs))
    paths = {n: i for n, i in value_paths(whole, values).items() if n not in outputs}
    names = {free(n, taken): n for n in paths}
    return with_values(whole, {safe: paths[n] for safe, n in names.items()}), names


@contextmanager
def as_in_training(*models: nn.Module) -> Iterator[None]:
    """Training's steps and draws without gradients; dropout is off, batch norm keeps its statistics.

    Afterwards every sub-module has the mode, and every buffer the value, that it had.
    """
    modes = [(module, module.training) for model in models for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for model in models for buffer in model.buffers()]
    try:
        for model in models:
            model.train()
            for module in model.modules():
                if isinstance(module, _QUIET) or isinstance(getattr(module, "dropout", None), float):
                    module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _seen(module: nn.Module, graph: Graph, split: Split, task: Task, names: Mapping[str, str]) -> tuple[Forward, Mode]:
    """The module as a function that gives what the task reads, and the mode in which it does."""
    outputs = {names.get(n, n) for n, _ in graph.outputs}
    own = needed(task, split, outputs)
    whole = with_items(graph, own)
    mode = mode_of(whole, own)
    given = {names.get(n, n) for n, _ in in_mode(graph, mode).outputs}
    if all(value in given for value in own):
        return joined(task.beside, named(module, graph, names)), mode
    paths = value_paths(whole, own)
    inner, part = sharing(module, whole, {f"v{n}": paths[value] for n, value in enumerate(own)}, mode)
    return joined(task.beside, named(inner, part, {f"v{n}": value for n, value in enumerate(own)})), mode
