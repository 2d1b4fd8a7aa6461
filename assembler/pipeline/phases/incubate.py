"""Train every variant of every slot, each alone inside a frozen host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from assembler.assemble.plan import Failure
from assembler.assemble.task import Task, task
from assembler.errors import InputError
from assembler.graph.text import to_text
from assembler.infer.cost import total
from assembler.pipeline.code import beginnings, code_of
from assembler.pipeline.slots import written
from assembler.pipeline.weights.beginning import part_needs
from assembler.recipe.edits import replaced
from assembler.registry import phase

if TYPE_CHECKING:
    from assembler.pipeline.slots import Variant
    from assembler.pipeline.state import Run


@phase
def incubate(
    run: Run,
    *,
    host: str = "meta",
    start: Literal["random", "host", "copies"] = "random",
    objective: list[dict[str, Any]] | dict[str, Any] | None = None,
    trained: list[str] | None = None,
    train: dict[str, Any] | None = None,
) -> None:
    """Train each slot's variants inside the frozen `host`, independently of each other.

    The objective says how: on the task (the default; Deep Incubation), against the host's or the teacher's own value
    at the slot (`{loss: normalized_mse, value: slot, target: host.slot}`; block-wise distillation), against the host
    with the teacher's part in the slot (`{loss: kl, value: logits, target: teacher@host.logits}`; m2mKD), or several.
    `trained` are the steps that are trained, of a part all by default.

    Parts begin `random`; with what they have in common with the `host`'s own, copied, sliced or grown; or as `copies`
    of its blocks, each with its share of what they add. Steps of an imported model that a variant leaves as they are
    (`keep`) begin with the host's weights anyway, steps with `weights:` with those. Where the host has other features
    at a slot, the part stands between stitch layers, fitted by least squares.
    """
    if not run.spec.split:
        raise InputError("incubation needs slots", hint="name them in the run's split:, for instance [stage.*]")
    run.seat(host)
    for seed in run.seeds:
        run.parts[seed] = {
            (slot, i): _part(run, variant, seed, objective, {"start": start, "train": train, "trained": trained})
            for slot, found in run.variants.items()
            for i, variant in enumerate(found)
        }
    run.make(t for parts in run.parts.values() for t in parts.values())
    _check(run)


def _part(
    run: Run,
    variant: Variant,
    seed: int,
    objective: list[dict[str, Any]] | dict[str, Any] | None,
    how: Mapping[str, Any],
) -> Task:
    inputs = {
        "slot": variant.slot,
        "part": to_text(variant.graph),
        "start": how["start"],
        **run.common(seed, how["train"], objective),
    }
    if any(variant.stitches):
        inputs["stitches"] = list(variant.stitches)
    if how["trained"]:
        inputs["trained"] = list(how["trained"])
    if (changed := replaced(written(run.spec, dict(variant.picks)))) is not None:
        inputs["changed"] = changed
    needs = {"host": run.models[run.host][seed], **run.teachers(seed, objective)}
    return task(
        "assembler.pipeline.jobs:part",
        inputs,
        needs | part_needs(run.spec, variant, run.runner.store, run.phase),
        label=run.say(f"{variant.slot} {variant.label}", seed),
        phase=run.phase,
        code=[*code_of(variant.graph, inputs["objective"], inputs["train"]), *beginnings()],
    )


def _check(run: Run) -> None:
    """Raise the reason where of some slots every part that has weights failed: nothing was trained to choose from.

    Parts without weights cannot fail that way, and a search of those alone would look like a result.
    """
    for seed, parts in run.parts.items():
        lost = {slot: f for slot in run.spec.split if (f := _all_failed(run, parts, slot))}
        if lost:
            slots = ", ".join(f"'{slot}'" for slot in lost)
            said = f"every variant with weights of {slots} failed (seed {seed})"
            raise run.error(next(iter(lost.values())), said)


def _all_failed(run: Run, parts: dict[tuple[str, int], Task], slot: str) -> Failure | None:
    """The first failure of a slot of which no part with weights was finished, or no part at all."""
    found = [run.results[task] for (s, _), task in parts.items() if s == slot]
    heavy = [r for r, v in zip(found, run.variants[slot], strict=True) if total(v.graph).params]
    wanted = heavy or found
    failed = [r for r in wanted if isinstance(r, Failure)]
    return failed[0] if len(failed) == len(wanted) else None
