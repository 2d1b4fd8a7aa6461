"""What worker processes run: one function a kind of product. Each reads plain inputs and finished products only."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from assembler.assemble.frozen import compared
from assembler.assemble.growing import grown
from assembler.assemble.incubate import Seat, incubate
from assembler.assemble.job import Job
from assembler.assemble.judging import assess, score
from assembler.assemble.models import Model, Move, Task, Training
from assembler.assemble.nested import incubate_nested
from assembler.assemble.product import Product
from assembler.assemble.starting import GIVEN
from assembler.assemble.stitches import Stitches
from assembler.assemble.supernet.library import Library, Sharing, from_tensors
from assembler.assemble.supernet.score import candidate_weights
from assembler.assemble.train import train_model
from assembler.assemble.values import ValueCache
from assembler.assemble.weights import Weights, load_there, part_keys, put, within
from assembler.assemble.worth import judge
from assembler.compile.lower import lower
from assembler.compile.weights import read_weights, save_weights
from assembler.graph.core import Graph
from assembler.graph.runs import holder
from assembler.graph.text import from_text
from assembler.pipeline.search.pruning import watched
from assembler.pipeline.weights.initial import FILE, NEED, begun
from assembler.resources import cache_limit
from assembler.train.data.core import Data, load, load_test
from assembler.train.device import resolve
from assembler.train.loop import Hooks
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec, TurnSpec, turn_settings

WEIGHTS = "weights.safetensors"
PARENT = "initial:parent"
SHARED = "initial:supernet"
NESTED = "initial:nested"
"""What needs are called whose products' weights a task inherits, or takes its share of; no phase can be called so."""


def train(job: Job) -> dict[str, Any]:
    """A whole model: meta, teacher, baseline, or (with a host and parts among the needs) an assembly that is tuned."""
    graph = from_text(job.inputs["graph"])
    teachers = teachers_of(job)
    weights, told, before = learned(job, graph) if "grow" in job.inputs else (*heir(job, graph), 0)
    trained = train_model(
        graph,
        data_of(job),
        task_of(job),
        _training(job.inputs),
        weights=assembled(job) or weights,
        teachers=teachers,
        device=resolve(job.inputs["device"]),
        hooks=_hooks(job),
    )
    save_weights(trained.weights, job.out / WEIGHTS)
    return {
        "validation": trained.after[0],
        "loss": trained.after[1],
        "before": trained.before[0],
        "train_flops": trained.train_flops + before,
        "steps": trained.fit.steps,
        **told,
    }


def load_model(job: Job) -> dict[str, Any]:
    """A whole model that is not trained, and what it is worth on the validation split."""
    graph = from_text(job.inputs["graph"])
    weights, told = begun(job, graph)
    module = lower(graph)
    load_there(module, weights or {})
    score, loss = assess(module, graph, data_of(job), task_of(job))
    save_weights(module, job.out / WEIGHTS)
    return {"validation": score, "loss": loss, "before": score, "train_flops": 0, "steps": 0, **told}


def part(job: Job) -> dict[str, Any]:
    """One variant of one slot, trained inside its frozen host and scored there."""
    (seat,), data = _seats(job, {NEED: job.inputs}), data_of(job)
    if NESTED in job.needs:
        seat = replace(seat, begin=read_weights(job.needs[NESTED].file(nested_file(job.inputs["nested"]))))
    made = incubate(seat, data, _training(job.inputs), _hooks(job), _cache(job))
    worth = judge(seat, made.weights, data, task_of(job), _cache(job))
    save_weights(made.weights, job.out / WEIGHTS)
    return {
        "score": worth.metric,
        "loss": worth.loss,
        "train_flops": made.flops,
        "shared_flops": {**made.shared, **worth.shared},
        "flops": worth.flops,
        "steps": made.fit.steps if made.fit else 0,
        **({"inherited": made.account.counts, "account": str(made.account)} if made.account else {}),
    }


def nested(job: Job) -> dict[str, Any]:
    """All variants of one slot that have weights, trained at once; each of them goes on as a part of its own."""
    seats = _seats(job, {f"{NEED}:{i}": said for i, said in enumerate(job.inputs["parts"])})
    made = incubate_nested(seats, data_of(job), _training(job.inputs), _hooks(job), _cache(job))
    for i, weights in enumerate(made.weights):
        save_weights(weights, job.out / nested_file(i))
    return {
        "train_flops": made.flops,
        "shared_flops": dict(made.shared),
        "steps": made.fit.steps if made.fit else 0,
        "drawn": list(made.drawn),
        **({"inherited": made.account.counts, "account": str(made.account)} if made.account else {}),
    }


def nested_file(i: int) -> str:
    """The file of a joint training that has the weights of its part number `i`."""
    return f"{i}.safetensors"


def _seats(job: Job, parts: Mapping[str, Mapping[str, Any]]) -> list[Seat]:
    """The seats of parts of one slot, by the need that has weights which they begin with, where there is one."""
    host, teachers, device = model_of(job.needs["host"]), teachers_of(job), resolve(job.inputs["device"])
    slot, made = job.inputs["slot"], []
    for need, said in parts.items():
        graph = from_text(said["part"])
        own = read_weights(job.needs[need].file(FILE)) if need in job.needs else {}
        kept = unchanged(host, slot, graph, said) if job.inputs.get("start", "random") == "random" else {}
        begin = {**kept, **own}
        made.append(Seat(host, slot, graph, teachers, device, begin, Stitches(*said.get("stitches", ()))))
    return made


def _cache(job: Job) -> ValueCache | None:
    return ValueCache(job.values, most) if job.values and (most := cache_limit()) else None


def unchanged(host: Model, slot: str, part: Graph, inputs: Mapping[str, Any]) -> Weights:
    """The host's weights, under the part's keys, of the steps of a slot that its variant left as they were.

    They are not drawn anew where the others are; what the host gives by another `start` has them already.
    """
    if "changed" not in inputs:
        return {}
    inside = holder(host.graph, slot)
    stays = {n: t for n, t in host.weights.items() if inside(n) and not any(within(n, p) for p in inputs["changed"])}
    return part_keys(stays, slot, part)


def test(job: Job) -> dict[str, Any]:
    """The metric of a finished model on the test split, which nothing else reads."""
    model = model_of(job.needs["model"])
    device = resolve(job.inputs["device"])
    module = lower(model.graph)
    load_there(module, model.weights)
    split = load_test(job.inputs["data"]).to(device)
    value = score(module.to(device), model.graph, split, task_of(job), "the test loss")[0]
    return {"test": value, "samples": len(split)}


def model_of(product: Product) -> Model:
    """The model that a `train` task made."""
    return Model(from_text(product.card["inputs"]["graph"]), read_weights(product.file(WEIGHTS)))


def heir(job: Job, graph: Graph) -> tuple[Weights | None, dict[str, Any]]:
    """The weights that a graph begins with, of a parent, of a supernet or initial ones, and what to tell of them."""
    if SHARED in job.needs:
        return candidate_weights(library_of(job.needs[SHARED]), graph), {}
    if PARENT not in job.needs:
        return begun(job, graph)
    parent = model_of(job.needs[PARENT])
    give = GIVEN[job.inputs.get("start", "host")]
    weights, account = give(parent.graph, parent.weights, graph, seed=job.inputs["seed"])
    return weights, {"inherited": account.counts, "account": str(account)}


def learned(job: Job, graph: Graph) -> tuple[Weights, dict[str, Any], int]:
    """The weights that a graph begins with by a trained map of its parent's, what to tell of them, and the FLOPs."""
    how = replace(_training(job.inputs), spec=FitSpec.from_spec(job.inputs["grow"]), turns=())
    parent, device = model_of(job.needs[PARENT]), resolve(job.inputs["device"])
    weights, account, spent = grown(parent, graph, data_of(job), how, teachers_of(job), device)
    return weights, {"inherited": account.counts, "account": str(account)}, spent


def library_of(product: Product) -> Library:
    """The shared weights that a supernet's task made."""
    return _library(product.file(WEIGHTS), product.result["sharing"], product.card["inputs"]["seed"])


@functools.lru_cache(maxsize=2)
def _library(file: Path, sharing: Sharing, seed: int) -> Library:
    return from_tensors(read_weights(file), sharing, seed)


def teachers_of(job: Job) -> dict[str, Model]:
    """The models that the objective compares with, by name."""
    return {n: model_of(p) for n, p in job.needs.items() if n != "host" and ":" not in n and "/" not in n}


def assembled(job: Job) -> Weights | None:
    """The host's weights with trained parts in their slots, or None for a model that starts from nothing.

    The needs are "host" and one `part:<slot>` each slot.
    """
    if "host" not in job.needs:
        return None
    host = model_of(job.needs["host"])
    weights = dict(host.weights)
    for name, product in job.needs.items():
        if name.startswith("part:"):
            slot = name.removeprefix("part:")
            part = from_text(product.card["inputs"]["part"])
            weights = put(weights, host.graph, slot, part, read_weights(product.file(WEIGHTS)))
    return weights


def data_of(job: Job) -> Data:
    """Train and validation of the job's data."""
    return load(job.inputs["data"])


def task_of(job: Job) -> Task:
    """The loss on the data and the metric, and beside them the models whose values the loss compares with."""
    loss = Objective.from_spec(job.inputs["task"], path="task")
    frozen = compared(teachers_of(job), loss.needs, device=resolve(job.inputs["device"]), given=loss.given)
    theirs = frozenset(value for one in frozen for value in one.names.values())
    return Task(loss, job.inputs["metric"], frozen, theirs)


def _training(inputs: Mapping[str, Any]) -> Training:
    spec = FitSpec.from_spec(inputs["train"])
    turns = tuple(_move(turn, inputs["train"]) for turn in inputs.get("turns", ()))
    objective = turns[0].objective if turns else Objective.from_spec(inputs["objective"])
    paths = tuple(inputs.get("trained", ()))
    return Training(objective, spec, inputs["seed"], inputs.get("start", "random"), paths, turns)


def _move(turn: Mapping[str, Any], train: Mapping[str, Any]) -> Move:
    said = TurnSpec.from_spec(turn)
    objective = Objective.from_spec(said.objective)
    return Move(objective, FitSpec.from_spec(turn_settings(turn, train)), tuple(said.train), said.name, said.every)


def _hooks(job: Job) -> Hooks:
    return watched(job, Hooks(job.progress, job.log))
