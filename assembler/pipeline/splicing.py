"""Models with slots of other models, as a task of a run."""

from __future__ import annotations

from typing import Any

from assembler.assemble.job import Job
from assembler.assemble.judging import assess
from assembler.assemble.spliced import spliced
from assembler.assemble.task import module_code
from assembler.assemble.weights import load_there
from assembler.compile.lower import lower
from assembler.compile.weights import save_weights
from assembler.pipeline.jobs import WEIGHTS, data_of, model_of, task_of
from assembler.train.device import resolve

_METHOD = ("spliced", "stitches.layers", "stitches.fitted")


def code() -> list[str]:
    """Digests of the code that splicing depends on."""
    return [module_code(f"assembler.assemble.{name}") for name in _METHOD]


def splice_models(job: Job) -> dict[str, Any]:
    """A model with slots of others, and what it is worth on the validation split."""
    data, task, device = data_of(job), task_of(job), resolve(job.inputs["device"])
    take = {slot: model_of(job.needs[f"slot:{n}"]) for n, slot in enumerate(job.inputs["slots"])}
    made = spliced(model_of(job.needs["model:host"]), take, data.train, job.inputs["seed"])
    module = lower(made.graph).to(device)
    load_there(module, made.weights)
    score, loss = assess(module, made.graph, data, task, device)
    save_weights(made.weights, job.out / WEIGHTS)
    return {"validation": score, "loss": loss, "before": score, "train_flops": 0, "steps": 0}
