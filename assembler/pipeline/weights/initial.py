"""Initial weights on their way to the workers: a product of the parts store, whose key is what the tensors hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from assembler.assemble.job import Job
from assembler.assemble.store import Store
from assembler.assemble.task import Task, task
from assembler.compile.lower import lower
from assembler.compile.weights import read_weights, save_weights
from assembler.errors import InputError
from assembler.graph.core import Graph
from assembler.pipeline.weights.loading import Begin, Place, begin_of

NEED = "initial:weights"
"""What a task's need is called that holds the weights it begins with; no phase can be called so."""
FILE = "initial.safetensors"

BEGIN = f"{__name__}:begin"
"""The function of tasks of weights, which are never made by a worker: they are read before anything is."""


def begin(job: Job) -> dict[str, Any]:
    """The task of these weights, which the process that read them has made already."""
    raise InputError("the initial weights were removed from the parts store", hint="run the same again")


def needs_of(
    store: Store, graph: Graph, places: tuple[Place, ...], *, phase: str = "", fitting: bool = False
) -> dict[str, Task]:
    """The task whose product the training of `graph` begins with, as a need; none where there are no places.

    Everything is read and checked here, before anything is trained. Raises InputError as `begin_of` does.
    """
    if not places:
        return {}
    found = begin_of(places, lower(graph, device="meta").state_dict(), fitting=fitting)
    return kept(store, found, phase) if found is not None and found.tensors else {}


def kept(store: Store, found: Begin, phase: str = "") -> dict[str, Task]:
    """A need of weights that are read, which are put into the store."""
    made = task(BEGIN, {"sha256": digest(found.tensors)}, label="initial weights", phase=phase)
    with store.lock(made.key):
        if store.get(made.key) is None:
            with store.scratch(made.key) as out:
                save_weights(found.tensors, out / FILE)
                card = {"run": made.run, "inputs": made.parameters, "code": made.code, "label": made.label}
                result = {"tensors": len(found.tensors)}
                store.commit(out, made.key, {**card, "phase": phase, "needs": {}, "result": result, "seconds": 0.0})
    return {NEED: made}


def begun(job: Job, graph: Graph) -> tuple[dict[str, Tensor] | None, dict[str, Any]]:
    """All weights that a training of `graph` begins with, None if they are the seed's own, and what to tell of it."""
    if NEED not in job.needs:
        return None, {}
    given = read_weights(job.needs[NEED].file(FILE))
    fresh = lower(graph, seed=job.inputs["seed"]).state_dict()
    told = {"loaded": len(given), "initialised": [name for name in fresh if name not in given]}
    return {**fresh, **given}, told


def digest(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of tensors: their names, dtypes, shapes and bytes, in the order of the names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
