"""Claims about arms: the same recipe with named changes, trained on paired seeds and compared by a metric."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assembler.assemble.product import Product
from assembler.assemble.task import Task, closure, module_code, task
from assembler.checks.openings import Score
from assembler.graph.core import Graph
from assembler.graph.text import from_text
from assembler.infer.cost import total
from assembler.pipeline.claims import spec
from assembler.pipeline.claims.exact import Number, measured
from assembler.pipeline.claims.runs import Workshop, failed, model_name, runs, trained
from assembler.pipeline.claims.spec import COSTS, Claim, Measure
from assembler.pipeline.claims.worth import worth
from assembler.pipeline.code import code_of
from assembler.pipeline.spec import RunSpec
from assembler.pipeline.spending import counted
from assembler.pipeline.state import Run
from assembler.recipe.borrowed import with_borrowed
from assembler.recipe.document import Document
from assembler.recipe.values import marked, plain
from assembler.wiring.build import build

SEEDS = (0, 1, 2)
"""The seeds of arms where neither the claim nor the run says any."""


@dataclass(frozen=True)
class Arm:
    """What an arm came to: the metric of each seed, and what the model and its training cost.

    `gaps` are the differences to the first arm, seed by seed. `train_flops` is the mean over the seeds.
    """

    name: str
    values: tuple[float, ...]
    gaps: tuple[float, ...] = ()
    params: int = 0
    flops: int = 0
    train_flops: int = 0
    steps: Mapping[str, int] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """The standard deviation over the seeds; None of one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def data(self) -> dict[str, Any]:
        """The arm as plain data."""
        told = {"mean": self.mean, "std": self.std, "per_seed": list(self.values), "difference": list(self.gaps)}
        costs = {"params": self.params, "flops": self.flops, "train_flops": self.train_flops}
        return {"name": self.name, **told, **costs, "steps": dict(self.steps)}


@dataclass(frozen=True)
class Compared:
    """The arms of a claim, the seeds that they were trained with, the metric's name, and why some have no value."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    metric: str
    reasons: tuple[str, ...] = ()


def arms(document: Document, claim: Claim) -> dict[str, Document]:
    """The recipe as each arm of a claim has it."""
    return {name: spec.at(document, claim, changes) for name, changes in claim.arms}


def arm_runs(document: Document, claim: Claim) -> dict[str, RunSpec]:
    """The runs of a claim's arms, where they are trained by phases. Raises what is wrong with them and their data."""
    if not trains(claim) or (isinstance(claim.metric, Measure) and claim.metric.trained):
        return {}
    return runs(arms(document, claim), claim, claim.seeds or (() if "seeds" in document.tree else SEEDS))


def compare(document: Document, claim: Claim, specs: Mapping[str, RunSpec], shop: Workshop) -> Compared:
    """Build every arm of a claim, or train it by its run, and take the metric of each."""
    documents = arms(document, claim)
    if not trains(claim):
        return _built(documents, claim)
    if not specs:
        shop.tell(f"{claim.name}: training")
        return _built(documents, claim, {name: worth(one, shop) for name, one in documents.items()})
    if claim.budget == "flops" and len(specs) > 1:
        specs = shop.equal(specs, claim.model)
    states = {name: shop.planned(one, name) for name, one in specs.items()}
    seeds = next(iter(specs.values())).seeds
    ends = {n: [s.models[model_name(s, claim.model)][seed] for seed in seeds] for n, s in states.items()}
    several = list(states.values())
    shop.tell(f"{claim.name}: training")
    shop.make(several, closure([t for tasks in ends.values() for t in tasks]))  # what they stand on tells the costs
    reasons = tuple(dict.fromkeys(r for name, s in states.items() for r in failed(s, ends[name])))
    if reasons:
        return Compared((), seeds, _name(claim, ends), reasons)
    values = _values(documents, claim, states, ends, shop)
    return Compared(_arms(values, {n: _cost(states[n], ends[n]) for n in values}), seeds, _name(claim, ends))


def trains(claim: Claim) -> bool:
    """Whether the metric of a claim's arms is one of trained models."""
    if isinstance(claim.metric, Measure):
        return bool(claim.model) or claim.metric.trained
    return claim.metric not in COSTS[:2]


def _name(claim: Claim, ends: Mapping[str, Sequence[Task]] | None = None) -> str:
    """How tables call the metric, of trained models where there are any."""
    if isinstance(claim.metric, Measure):
        return claim.metric.check
    if isinstance(claim.metric, str):
        first = next(iter(ends.values()))[0].parameters["metric"] if ends else "accuracy"
        return claim.metric or f"test.{first}"
    terms = claim.metric.get("terms") or [claim.metric]
    said = "+".join(str(t.get("name") or t.get("loss") or t.get("value")) for t in terms)
    return f"{claim.metric['split']}.{said}"


def _built(documents: Mapping[str, Document], claim: Claim, worths: Mapping[str, Score] | None = None) -> Compared:
    """The arms of a metric that needs no training, or none but that of choices, which are worth so much."""
    graphs = {name: build(one.default, name=name) for name, one in documents.items()}
    seeds = claim.seeds or (0,)
    values = {}
    for name, one in documents.items():
        if isinstance(claim.metric, Measure):
            known = worths[name] if worths else None
            found = [measured(one, claim.metric, seed, worth=known) for seed in seeds]
            values[name] = tuple(_number(n) for n in found)
        else:
            seeds = seeds[:1]
            values[name] = (float(getattr(total(graphs[name]), str(claim.metric))),)
    return Compared(_arms(values, {name: _size(graph) for name, graph in graphs.items()}), seeds, _name(claim))


def _number(found: Number) -> float:
    return float(found[-1] if isinstance(found, list) else found)


def _values(
    documents: Mapping[str, Document],
    claim: Claim,
    states: Mapping[str, Run],
    ends: Mapping[str, Sequence[Task]],
    shop: Workshop,
) -> dict[str, tuple[float, ...]]:
    if isinstance(claim.metric, Measure):
        metric = claim.metric
        return {
            n: tuple(_number(measured(documents[n], metric, seed, trained(s, claim.model, seed))) for seed in s.seeds)
            for n, s in states.items()
        }
    if claim.metric == "train_flops":
        return {n: tuple(float(_spent(states[n], [end])) for end in ends[n]) for n in states}
    shop.tell(f"{claim.name}: metric")
    tasks = {
        n: [_assess(s, made, claim, seed) for seed, made in zip(s.seeds, ends[n], strict=True)]
        for n, s in states.items()
    }
    several = list(states.values())
    shop.make(several, [t for some in tasks.values() for t in some])
    return {n: tuple(float(s.product(t).result["value"]) for t in tasks[n]) for n, s in states.items()}


def _assess(state: Run, made: Task, claim: Claim, seed: int) -> Task:
    """The task that takes the metric of a trained model, which may compare it with others of the run."""
    said: Any = claim.metric or f"test.{made.parameters['metric']}"
    split, _, metric = said.partition(".") if isinstance(said, str) else (said["split"], "", None)
    terms = {} if metric else {k: v for k, v in said.items() if k != "split"}
    inputs = {name: made.parameters[name] for name in ("data", "data_id", "task", "device")}
    own = model_name(state, claim.model)
    known = state.graphs.get(own)
    objective: Any = metric or state.told(plain(with_borrowed(marked(terms), state.spec.document.default)), known)
    code = code_of(known or Graph((), {}, ()), [] if metric else objective, {})
    return task(
        "assembler.pipeline.claims.jobs:assess",
        {**inputs, "split": split, "metric": objective},
        {**state.teachers(seed, None if metric else objective, own), "model": made},
        label=f"{said if isinstance(said, str) else split} of {made.name}",
        phase="metric",
        code=[*code, module_code("assembler.train.evaluate")],
    )


def _arms(values: Mapping[str, tuple[float, ...]], costs: Mapping[str, dict[str, Any]]) -> tuple[Arm, ...]:
    first = next(iter(values.values()))
    gaps = {name: tuple(a - b for a, b in zip(found, first, strict=True)) for name, found in values.items()}
    return tuple(Arm(name, found, gaps[name], **costs[name]) for name, found in values.items())


def _size(graph: Graph) -> dict[str, Any]:
    cost = total(graph)
    return {"params": cost.params, "flops": cost.flops}


def _cost(state: Run, ends: Sequence[Task]) -> dict[str, Any]:
    """What the model of an arm costs, its training on the mean over the seeds, and the steps of each phase."""
    inputs = state.product(ends[0]).card["inputs"]
    size = _size(from_text(inputs["graph"])) if "graph" in inputs else {}
    steps = {
        made.phase: int(found.result["steps"])
        for made in closure(ends[:1])
        if isinstance(found := state.results.get(made), Product) and found.result.get("steps")
    }
    return {**size, "train_flops": round(_spent(state, ends) / len(ends)), "steps": steps}


def _spent(state: Run, ends: Sequence[Task]) -> int:
    """Training FLOPs of the models `ends` and of all that they stand on."""
    found = ((made.phase, state.results.get(made)) for made in closure(ends))
    return sum(counted(((phase, p) for phase, p in found if isinstance(p, Product)), ["train_flops"]).values())
