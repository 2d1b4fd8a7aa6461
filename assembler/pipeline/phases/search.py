"""Search assemblies of trained parts under a budget; no candidate is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from assembler import registry
from assembler.assemble.product import Product
from assembler.assemble.task import Task, module_code, task
from assembler.errors import InputError, RecipeError
from assembler.infer.cost import total
from assembler.pipeline.budgets import fixed, limits
from assembler.registry import phase
from assembler.train.data.core import load

if TYPE_CHECKING:
    from assembler.pipeline.state import Run

CODE = ("assembler.pipeline.assemblies", "assembler.search.study", "assembler.search.exact")


@phase
def search(
    run: Run,
    *,
    sampler: str | dict[str, Any] = "exact",
    trials: int = 64,
    budget: dict[str, float | str] | None = None,
) -> None:
    """Choose one part a slot: assemblies are put together and validated, the best within the budget wins.

    `sampler` is `exact` (parts' scores added up and solved, then the best few validated), `random`, `evolution`,
    `tpe` or another. `budget` bounds `params` and `flops` of the whole model, as numbers or expressions over the models
    made so far (`=0.35 * teacher`).
    """
    if not run.parts:
        raise InputError(f"phase '{run.phase}' needs parts, and no phase before it incubates any")
    if trials < 1:
        raise RecipeError(f"'trials' must be at least 1, not {trials}", path=f"phases.{run.phase}.trials")
    most = limits(budget or {}, {name: run.cost(name) for name in run.graphs})
    spec = {"name": sampler} if isinstance(sampler, str) else dict(sampler)
    run.searches = {seed: _search(run, seed, spec, trials, most) for seed in run.seeds}
    run.make(run.searches.values())
    for made in run.searches.values():
        run.product(made)  # raises with the reason where there is none


def _search(run: Run, seed: int, sampler: Mapping[str, Any], trials: int, most: Mapping[str, float]) -> Task:
    needs: dict[str, Task] = {"host": run.models[run.host][seed]}
    slots: dict[str, list[dict[str, Any]]] = {slot: [] for slot in run.variants}
    for slot, found in run.variants.items():
        for i, variant in enumerate(found):
            made = run.parts[seed][slot, i]
            if isinstance(run.results[made], Product):
                cost = total(variant.graph)
                needs[f"{slot}/{len(slots[slot])}"] = made
                slots[slot].append({"variant": i, "label": variant.label, "params": cost.params, "flops": cost.flops})
    inputs = {
        **run.common(seed, None, None),
        "slots": slots,
        "sampler": dict(sampler),
        "trials": trials,
        "budget": dict(most),
        "fixed": fixed(run.graphs[run.host], run.spec.split),
        "validation_flops": run.cost(run.host).flops * len(load(run.spec.data).validation),
    }
    label = run.say("search", seed)
    code = [registry.lookup("sampler", str(sampler["name"])).code, *(module_code(m) for m in CODE)]
    return task("assembler.pipeline.assemblies:search", inputs, needs, label=label, phase=run.phase, code=code)
