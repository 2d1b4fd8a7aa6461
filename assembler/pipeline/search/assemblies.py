"""The job that searches assemblies of trained parts: no training, candidates are put together and validated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from assembler.assemble.job import Job
from assembler.assemble.judging import assess, needed, watched
from assembler.assemble.weights import load_there
from assembler.compile.lower import lower
from assembler.compile.outline import outline, swap
from assembler.compile.weights import read_weights
from assembler.graph.core import Graph
from assembler.graph.edit import cut
from assembler.graph.sides import sides_named
from assembler.graph.text import from_text
from assembler.infer.shape import shapes
from assembler.pipeline.jobs import WEIGHTS, data_of, model_of, task_of
from assembler.pipeline.search.candidates import Candidates
from assembler.recipe.choices import Choice, Decision, Pick, Space
from assembler.recipe.read import read_text
from assembler.search.exact import Additive, solve
from assembler.search.pareto import Direction
from assembler.search.samplers import SearchSpec, make
from assembler.search.study import Trial, run
from assembler.train.device import resolve
from assembler.train.steps import free

CANDIDATES = "candidates.jsonl"


def search(job: Job) -> dict[str, Any]:
    """The best assembly of parts under the budget, by the first objective; the table of all candidates is a file.

    Needs the host and one product a part, named `<slot>/<variant number>`. `inputs["slots"]` maps each slot to its
    variants: label, params, flops, and their picks where the `recipe` has constraints.
    """
    slots: dict[str, list[dict[str, Any]]] = job.inputs["slots"]
    problem = _additive(job, slots)
    solve(problem)  # says at once which budget nothing meets
    space = Space(tuple(Decision(s, "oneof", tuple(v["label"] for v in found)) for s, found in slots.items()))
    judge = _Judge(job, slots)
    goals: dict[str, Direction] = job.inputs["objectives"]
    sampler = make(job.inputs["sampler"], SearchSpec(space, job.inputs["seed"], len(goals), additive=problem))
    bounds = _bounds(job, slots)

    def cost(choice: Choice) -> dict[str, float]:
        return {name: problem.cost(name, _whole(choice)) for name in problem.costs}

    def valued(choice: Choice) -> tuple[float, ...]:
        score, loss = judge(choice)
        known = {**cost(choice), "validation": score, "loss": loss}
        return tuple(known[name] for name in goals)

    total = min(job.inputs["trials"], space.size or job.inputs["trials"])
    study = run(
        space,
        valued,
        sampler,
        total,
        cost=cost,
        budget=problem.budget,
        where=bounds.refusal if bounds else None,
        on_trial=lambda trial: job.progress(trial.number + 1, total, {next(iter(goals)): trial.value}),
        directions=tuple(goals.values()),
    )
    rows = [_row(trial, space, problem, judge) for trial in study.trials]
    (job.out / CANDIDATES).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert study.best is not None
    best = _whole(study.best.choice)
    return {
        "choice": best,
        "labels": {slot: slots[slot][i]["label"] for slot, i in best.items()},
        "validation": judge.seen[_key(best)][0],
        "loss": judge.seen[_key(best)][1],
        "evaluated": study.evaluated,
        "space_size": space.size,
        "flops": judge.flops * study.evaluated,
    }


class _Judge:
    """Validates an assembly: swaps the slots' trained modules into one outlined host. Each assembly once."""

    def __init__(self, job: Job, slots: Mapping[str, list[dict[str, Any]]]) -> None:
        host = model_of(job.needs["host"])
        self.device = resolve(job.inputs["device"])
        self.data, self.task = data_of(job), task_of(job)
        self.graph, self.names = watched(host.graph, needed(self.task, self.data.train, dict(host.graph.outputs)))
        self.parts = {
            (slot, n): from_text(job.needs[f"{slot}/{n}"].card["inputs"]["part"])
            for slot, found in slots.items()
            for n in range(len(found))
        }
        self.types = shapes(host.graph)
        self.reads: dict[str, tuple[str, ...]] = {slot: () for slot in slots}
        for (slot, _), part in self.parts.items():
            ids = sides_named(host.graph, part.input_names[1:], slot).values()
            self.reads[slot] = tuple(dict.fromkeys((*self.reads[slot], *ids)))
        whole = {slot: tuple(dict.fromkeys((*cut(host.graph, slot).sides, *ids))) for slot, ids in self.reads.items()}
        self.reads = whole
        self.base = outline(self.graph, list(slots), self.types, reads=whole)
        load_there(self.base, host.weights)
        self.base.to(self.device)
        self.slots = slots
        self.needs = job.needs
        self.modules: dict[tuple[str, int], nn.Module] = {}
        self.seen: dict[tuple[tuple[str, int], ...], tuple[float, float]] = {}
        self.flops = int(job.inputs["validation_flops"])

    def __call__(self, choice: Choice) -> tuple[float, float]:
        """The metric and the loss of an assembly on the validation split."""
        whole = _whole(choice)
        key = _key(whole)
        if key not in self.seen:
            module = swap(self.base, {slot: self.module(slot, i) for slot, i in whole.items()})
            self.seen[key] = assess(module, self.graph, self.data, self.task, self.device, self.names)
        return self.seen[key]

    def module(self, slot: str, index: int) -> nn.Module:
        """The trained module of one variant."""
        if (slot, index) not in self.modules:
            product = self.needs[f"{slot}/{index}"]
            module = lower(self.called(slot, self.parts[slot, index]))
            load_there(module, read_weights(product.file(WEIGHTS)))
            self.modules[slot, index] = module.to(self.device)
        return self.modules[slot, index]

    def called(self, slot: str, part: Graph) -> Graph:
        """A part with the inputs that all parts of its slot are called with, in their order."""
        own = {i: name for name, i in sides_named(self.graph, part.input_names[1:], slot).items()}
        taken = {*part.nodes, *part.names, *part.input_names}
        names = [own.get(i) or free(f"unread{n}", taken) for n, i in enumerate(self.reads[slot])]
        sides = tuple((name, self.types[i]) for name, i in zip(names, self.reads[slot], strict=True))
        return replace(part, inputs=(part.inputs[0], *sides))


@dataclass(frozen=True)
class _Bounds:
    """The constraints of a recipe, for assemblies: `picks` are what each slot's variants decide in it."""

    candidates: Candidates
    picks: Mapping[str, list[dict[str, Pick]]]

    def refusal(self, choice: Choice, costs: Mapping[str, float] | None) -> str:
        """Why an assembly breaks a constraint, by decisions or, with `costs`, by what it costs."""
        space = self.candidates.space
        made = {name: pick for slot, i in _whole(choice).items() for name, pick in self.picks[slot][i].items()}
        more = space.costs - {*(costs or {})}
        found = self.candidates.cost(made) if costs is not None and more else {}
        return space.refusal(made, None if costs is None else {**found, **costs})


def _bounds(job: Job, slots: Mapping[str, list[dict[str, Any]]]) -> _Bounds | None:
    if "recipe" not in job.inputs:
        return None
    candidates = Candidates(read_text(job.inputs["recipe"], "the model"), "the model")
    picks = {
        slot: [{n: tuple(p) if isinstance(p, list) else p for n, p in one["picks"].items()} for one in found]
        for slot, found in slots.items()
    }
    return _Bounds(candidates, picks)


def _additive(job: Job, slots: Mapping[str, list[dict[str, Any]]]) -> Additive:
    """Scores and costs that add up: a part's score is the loss of the host with that part alone in it."""
    losses = {s: tuple(job.needs[f"{s}/{i}"].result["loss"] for i in range(len(v))) for s, v in slots.items()}
    costs = {c: {s: tuple(float(one[c]) for one in v) for s, v in slots.items()} for c in ("params", "flops")}
    labels = {s: tuple(one["label"] for one in v) for s, v in slots.items()}
    return Additive(losses, costs, job.inputs["fixed"], job.inputs["budget"], labels)


def _whole(choice: Mapping[str, Any]) -> dict[str, int]:
    return {slot: int(pick) for slot, pick in choice.items()}


def _key(choice: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(choice.items()))


def _row(trial: Trial, space: Space, problem: Additive, judge: _Judge) -> dict[str, Any]:
    whole = _whole(trial.choice)
    score, loss = judge.seen.get(_key(whole), (None, None))
    return {
        "number": trial.number,
        "choice": space.named(trial.choice),
        "params": problem.cost("params", whole),
        "flops": problem.cost("flops", whole),
        "estimate": problem.score(whole),
        "score": score,
        "loss": loss,
        "feasible": trial.state != "infeasible",
        "reason": trial.reason,
    }
