"""Search by training: each candidate of a space is trained on data and scored on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from assembler import resources
from assembler.assemble.plan import Failure
from assembler.assemble.runner import Event, Runner
from assembler.assemble.store import Store
from assembler.assemble.task import Task, task
from assembler.errors import RecipeError, TaskError
from assembler.graph.build import build
from assembler.graph.core import Graph
from assembler.graph.text import to_text
from assembler.infer.cost import total
from assembler.pipeline.code import code_of
from assembler.pipeline.spec import TASK
from assembler.recipe.choices import Choice, decide, space
from assembler.recipe.document import Document
from assembler.recipe.values import Map, plain
from assembler.registry import Entry, checks
from assembler.registry.live import describe
from assembler.search.samplers import make
from assembler.search.study import Study, Trial, run
from assembler.train.data.core import fingerprint
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


def costs_of(graph: Graph) -> dict[str, float]:
    """What budgets bound: parameters, and FLOPs of one sample."""
    cost = total(graph)
    return {"params": float(cost.params), "flops": float(cost.flops)}


def search_recipe(
    document: Document,
    how: Settings,
    *,
    device: str = "auto",
    on_event: Callable[[Event], None] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> Study:
    """Search the open choices of a recipe; each candidate is a task, so one that was trained before is read."""
    found = space(document.model)
    if not found.decisions:
        hint = "give it some: a space's choose:, or {$oneof: [...]} in the recipe"
        raise RecipeError(f"'{document.name}' has no open choices to search", hint=hint)

    def graph(choice: Choice) -> Graph:
        return build(decide(document.model, choice), name=document.name)

    with Runner(Store(resources.store_home()), 1, on_event) as runner:

        def evaluate(choice: Choice) -> float:
            made = _task(graph(choice), how, device, " ".join(found.named(choice).values()))
            product = runner.run([made])[made]
            if isinstance(product, Failure):
                raise TaskError(product.reason)
            return float(product.result["validation"])

        return run(
            found,
            evaluate,
            make(how.sampler, found, seed=how.seed),
            how.trials,
            cost=lambda choice: costs_of(graph(choice)),
            budget=how.budget,
            key=lambda choice: graph(choice).fingerprint,
            on_trial=on_trial,
        )


def _task(graph: Graph, how: Settings, device: str, label: str) -> Task:
    data = {"name": how.data} if isinstance(how.data, str) else how.data
    term = {**TASK, "value": graph.outputs[0][0]}
    inputs = {
        "graph": to_text(graph),
        "data": data,
        "data_id": fingerprint(data),
        "task": term,
        "metric": "accuracy",
        "train": how.train or {},
        "objective": [term],
        "seed": how.seed,
        "device": device,
    }
    code = code_of(graph, [term], how.train or {})
    return task("assembler.pipeline.jobs:train", inputs, label=label, phase="search", code=code)
