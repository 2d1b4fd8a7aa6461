"""Search the choices of a run: assemblies of trained parts without training any, or candidates that are trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from assembler import registry
from assembler.assemble.product import Product
from assembler.assemble.task import Task, module_code, task
from assembler.errors import AssemblerError, InputError, RecipeError
from assembler.infer.cost import total
from assembler.pipeline.checking.budgets import fixed, limits
from assembler.pipeline.search.found import searched
from assembler.pipeline.search.settings import Settings
from assembler.recipe.choices import Decision, Space
from assembler.recipe.write import to_yaml
from assembler.registry import phase
from assembler.search.exact import Additive
from assembler.search.samplers import SearchSpec, make
from assembler.train.data.core import load
from assembler.train.spec import settings

if TYPE_CHECKING:
    from assembler.pipeline.spec import RunSpec
    from assembler.pipeline.state import Run

USUAL = {"parts": "exact"}
"""The sampler of a mode where none is said; of others it is tpe."""
CODE = ("assembler.pipeline.search.assemblies", "assembler.search.study", "assembler.search.exact")


@phase
def search(
    run: Run,
    *,
    mode: Literal["parts", "trials", "inherit", "supernet"] = "parts",
    sampler: str | dict[str, Any] | None = None,
    trials: int = 64,
    budget: dict[str, float | str] | None = None,
    objectives: dict[str, str] | None = None,
    screen: dict[str, Any] | None = None,
    prune: str | dict[str, Any] | None = None,
    supernet: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
) -> None:
    """Choose one part a slot: assemblies are put together and validated, the best within the budget wins.

    `sampler` is `exact` (parts' scores added up and solved, then the best few validated), `random`, `evolution`,
    `tpe` or another. `budget` bounds `params` and `flops` of the whole model, as numbers or expressions over the models
    made so far (`=0.35 * teacher`); what breaks the space's `where:` is refused. Other modes train candidates of the
    whole model, as `train` says, and need no parts: `trials` each from the start, `inherit` each from its parent's
    weights, `supernet` all with shared ones. `screen`, `prune`, `supernet` and `objectives` are those of a space's
    `search:`.
    """
    if trials < 1:
        raise RecipeError(f"'trials' must be at least 1, not {trials}", path=f"phases.{run.phase}.trials")
    how = Settings(
        data=dict(run.spec.data),
        sampler=sampler or USUAL.get(mode, "tpe"),
        trials=trials,
        budget=limits(budget or {}, {name: run.cost(name) for name in run.graphs}),
        train=settings(run.spec.train, train or {}),
        objectives=objectives or ({"loss": "minimize"} if mode == "parts" else None),
        mode=mode,
        screen=screen,
        prune=prune,
        supernet=supernet,
    )
    run.searches = {}
    for seed in run.seeds:
        run.searches[seed] = assemblies(run, seed, how) if mode == "parts" else searched(run, seed, how)
    run.make(run.searches.values())
    for made in run.searches.values():
        run.product(made)  # raises with the reason where there is none


def check(spec: RunSpec) -> None:
    """Raise what is wrong with the samplers of a run's searches, at their place, before anything is trained."""
    slot = Decision("slot", "oneof", ("one", "other"))
    parts = Additive({"slot": (0.0, 0.0)}, {}, {}, {}, {"slot": slot.labels})
    for said in (p for p in spec.phases if p.entry.name == "search"):
        mode, goals = said.options.get("mode", "parts"), len(said.options.get("objectives") or {}) or 1
        sampler = said.options.get("sampler") or USUAL.get(mode, "tpe")
        try:
            if mode == "parts":
                make(sampler, SearchSpec(Space((slot,)), 0, goals, additive=parts))
            else:
                make(sampler, SearchSpec(spec.space, 0, goals))
        except AssemblerError as error:
            body = spec.document.tree.get("phases").get(said.name)
            raise error.at(body.get("sampler").span if "sampler" in body else body.span) from None


def assemblies(run: Run, seed: int, how: Settings) -> Task:
    """The task that searches assemblies of the parts that are trained."""
    if not run.parts:
        raise InputError(f"phase '{run.phase}' needs parts, and no phase before it incubates any")
    needs: dict[str, Task] = {"host": run.models[run.host][seed], **run.teachers(seed, None)}
    slots: dict[str, list[dict[str, Any]]] = {slot: [] for slot in run.variants}
    for slot, found in run.variants.items():
        for i, variant in enumerate(found):
            made = run.parts[seed][slot, i]
            if isinstance(run.results[made], Product):
                cost = total(variant.graph)
                needs[f"{slot}/{len(slots[slot])}"] = made
                slots[slot].append({"variant": i, "label": variant.label, "params": cost.params, "flops": cost.flops})
                if run.spec.space.where:
                    slots[slot][-1]["picks"] = dict(variant.picks)
    sampler: Mapping[str, Any] = {"name": how.sampler} if isinstance(how.sampler, str) else how.sampler
    inputs = {
        **run.common(seed, None, None),
        "slots": slots,
        "sampler": dict(sampler),
        "trials": how.trials,
        "budget": how.budget,
        "objectives": how.goals,
        "fixed": fixed(run.graphs[run.host], run.spec.split),
        "validation_flops": run.cost(run.host).flops * len(load(run.spec.data).validation),
    }
    if run.spec.space.where:
        inputs["recipe"] = to_yaml(run.spec.document.model)
    label = run.say("search", seed)
    code = [registry.lookup("sampler", str(sampler["name"])).code, *(module_code(m) for m in CODE)]
    return task("assembler.pipeline.search.assemblies:search", inputs, needs, label=label, phase=run.phase, code=code)
