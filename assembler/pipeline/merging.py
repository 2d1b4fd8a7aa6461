"""Models of one graph merged: as a call on modules, folders and recipes with weights, and as a task of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from assembler.assemble.job import Job
from assembler.assemble.judging import assess
from assembler.assemble.merging import greedy, merged
from assembler.assemble.merging.depth import Along
from assembler.assemble.models import Model
from assembler.assemble.task import module_code
from assembler.assemble.weights import Weights, load_there
from assembler.compile.lower import lower
from assembler.compile.model import Compiled, graph_of
from assembler.compile.weights import save_weights
from assembler.errors import InputError
from assembler.pipeline.api import build
from assembler.pipeline.jobs import WEIGHTS, data_of, model_of, task_of
from assembler.pipeline.sources import Source, document
from assembler.registry import lookup
from assembler.train.device import resolve
from assembler.train.evaluate import higher_is_better

_METHOD = ("depth", "merged", "tensors")


def merge(
    models: Sequence[nn.Module | Source],
    method: str | Mapping[str, Any] = "linear",
    *,
    base: nn.Module | Source | None = None,
    weights: Sequence[Along] | None = None,
    seed: int = 0,
) -> Compiled:
    """One module of several with the same graph: built ones, folders with a model, recipes with weights.

    `method` is a registered merge (`"linear"`, `{"name": "ties", "density": 0.3}`), `base` the model that all were
    tuned from, which methods over task vectors need. `weights`, one for each model and 1 by default, and a method's
    numbers may be lists, which are interpolated along the depth (`[0, 0.5, 1]`), or mappings by pattern of path
    (`{"*.attn": 0.3, "*": 1}`). `seed` is for methods that draw. Raises InputError where the models differ in more than
    their weights, or the method needs what is not given.
    """
    modules = [_module(one) for one in models]
    held = [_model(one) for one in modules]
    there = None if base is None else _model(_module(base))
    found = lower(held[0].graph) if held else None
    made = merged(held, method, base=there, weights=weights, seed=seed)
    assert found is not None
    load_there(found, made)
    if recipe := getattr(modules[0], "meta", {}).get("recipe"):
        found.meta["recipe"] = recipe
    return found


def code(method: str | Mapping[str, Any]) -> list[str]:
    """Digests of the code that a merge depends on."""
    name = method if isinstance(method, str) else str(method.get("name"))
    return [lookup("merge", name).code, *(module_code(f"assembler.assemble.merging.{m}") for m in _METHOD)]


def merge_models(job: Job) -> dict[str, Any]:
    """Trained models as one, and what it is worth on the validation split."""
    count = sum(name.startswith("model:") and name != "model:base" for name in job.needs)
    models = [model_of(job.needs[f"model:{n}"]) for n in range(count)]
    base = model_of(job.needs["model:base"]) if "model:base" in job.needs else None
    graph, data, task, device = models[0].graph, data_of(job), task_of(job), resolve(job.inputs["device"])
    module = lower(graph).to(device)

    def judged(weights: Weights) -> tuple[float, float]:
        load_there(module, weights)
        return assess(module, graph, data, task, device)

    def together(chosen: Sequence[int]) -> Weights:
        shares = job.inputs["weights"]
        return merged(
            [models[n] for n in chosen],
            job.inputs["method"],
            base=base,
            weights=None if shares is None else [shares[n] for n in chosen],
            seed=job.inputs["seed"],
        )

    chosen = list(range(count))
    if job.inputs["greedy"]:
        sign = 1 if higher_is_better(job.inputs["metric"]) else -1
        alone = [sign * job.needs[f"model:{n}"].result["validation"] for n in chosen]
        chosen = greedy(alone, lambda some: sign * judged(together(some))[0])
    weights = together(chosen)
    score, loss = judged(weights)
    save_weights(weights, job.out / WEIGHTS)
    return {"validation": score, "loss": loss, "before": score, "train_flops": 0, "steps": 0, "merged": chosen}


def held(source: nn.Module | Source, use: str) -> Model:
    """A model, to `use`, with its weights: a built module's, those of a folder or run, or those that a recipe names."""
    return _model(_module(source), use)


def _module(source: nn.Module | Source) -> nn.Module:
    if not isinstance(source, nn.Module):
        held = document(source).model.get("weights") if isinstance(source, str | Path) else {"file": ""}
        if not held or "file" not in held:
            raise InputError(f"'{source}' has no weights", hint="name a folder with a trained model, or a run")
        return build(source)
    return source


def _model(module: nn.Module, use: str = "merge") -> Model:
    state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    return Model(graph_of(module, use), state)
