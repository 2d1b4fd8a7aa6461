"""Models with slots of other models, as a task of a run."""

from __future__ import annotations

from typing import Any

from assembler.assemble.job import Job
from assembler.assemble.judging import assess
from assembler.assemble.similar import Line, likenesses, similarities
from assembler.assemble.spliced import spliced
from assembler.assemble.task import module_code
from assembler.assemble.weights import load_there
from assembler.compile.lower import lower
from assembler.compile.weights import save_weights
from assembler.graph.edit import cut
from assembler.pipeline.jobs import WEIGHTS, data_of, model_of, task_of
from assembler.train.data.core import load
from assembler.train.device import resolve

_METHOD = ("spliced", "stitches.layers", "stitches.fitted")
_COMPARING = ("assembler.assemble.similar", "assembler.train.losses.relation", "assembler.graph.cuts")


def code() -> list[str]:
    """Digests of the code that splicing depends on."""
    return [module_code(f"assembler.assemble.{name}") for name in _METHOD]


def code_of_comparing() -> list[str]:
    """Digests of the code that it depends on how alike models are."""
    return [module_code(name) for name in _COMPARING]


def compare_models(job: Job) -> dict[str, Any]:
    """How alike the values of another model's line are to what enters a slot of a model, and to what leaves it."""
    split = load(job.inputs["data"]).train
    host, other = (model_of(job.needs[f"model:{name}"]) for name in ("host", "other"))
    place = cut(host.graph, job.inputs["slot"])
    ours = likenesses(host, (place.source, place.output), split)
    return {"alike": similarities(ours, likenesses(other, Line.of(other.graph).values, split)), "train_flops": 0}


def splice_models(job: Job) -> dict[str, Any]:
    """A model with slots of others, and what it is worth on the validation split."""
    data, task, device = data_of(job), task_of(job), resolve(job.inputs["device"])
    places = job.inputs["take"]
    take = {slot: (model_of(job.needs[f"slot:{n}"]), path) for n, (slot, _, path) in enumerate(places)}
    made = spliced(model_of(job.needs["model:host"]), take, data.train, job.inputs["seed"])
    module = lower(made.graph).to(device)
    load_there(module, made.weights)
    score, loss = assess(module, made.graph, data, task, device)
    save_weights(made.weights, job.out / WEIGHTS)
    told = {slot: f"{name}.{path}" for slot, name, path in places}
    return {"validation": score, "loss": loss, "before": score, "train_flops": 0, "steps": 0, "taken": told}
