"""The weights that the models and parts of a run begin with, looked at before anything is trained."""

from __future__ import annotations

from dataclasses import replace

from assembler.assemble.store import Store
from assembler.assemble.task import Task
from assembler.assemble.weights import part_keys, whole_keys
from assembler.compile.lower import lower
from assembler.pipeline.checking.budgets import Which, model_of, tree_of
from assembler.pipeline.slots import Variant, variants, written
from assembler.pipeline.spec import RunSpec
from assembler.pipeline.weights import pins
from assembler.pipeline.weights.initial import kept
from assembler.pipeline.weights.loading import Begin, Place, begin_of, beside, places
from assembler.recipe.values import Map
from assembler.recipe.weighted import in_steps
from assembler.recipe.weights import Weights, weights_of


def of_model(spec: RunSpec, phase: str, which: Which, weights: str | None) -> tuple[Place, ...]:
    """Where the weights lie that a phase's model begins with: its own `weights`, or those that the recipe names."""
    tree = tree_of(spec, which)
    if weights is None:
        return places(tree, spec.document.folder)
    body = spec.document.tree.get("phases").get(phase)
    span = body.get("weights").span if isinstance(body, Map) else None
    said = replace(weights_of(tree) or Weights(), file=weights, span=span)
    return (Place("", said, beside(said, spec.document.folder)),)


def of_part(spec: RunSpec, variant: Variant) -> Begin | None:
    """The weights, under the part's own keys, that the steps in a slot's variant name themselves."""
    slot, part = variant.slot, variant.graph
    if not in_steps(spec.document.model):
        return None
    said = places(written(spec, dict(variant.picks)), spec.document.folder)
    own = tuple(place for place in said if place.path and (place.path == slot or place.path.startswith(f"{slot}.")))
    if not own:
        return None
    ours = whole_keys(lower(part, device="meta").state_dict(), slot, part)
    found = begin_of(own, ours)
    return replace(found, tensors=part_keys(found.tensors, slot, part)) if found is not None else None


def places_of(spec: RunSpec) -> tuple[Place, ...]:
    """Every place that a run takes weights from, each once."""
    found: list[Place] = []
    for phase in spec.phases:
        if phase.begins_with_recipe:
            found += of_model(spec, phase.name, Which.of(phase), phase.options.get("weights"))
        if phase.entry.name == "incubate" and spec.split and in_steps(spec.document.model):
            said = (written(spec, dict(v.picks)) for some in variants(spec).values() for v in some)
            found += (p for tree in said for p in places(tree, spec.document.folder) if p.path)
    return tuple({str(place.file): place for place in found}.values())


def part_needs(spec: RunSpec, variant: Variant, store: Store, phase: str) -> dict[str, Task]:
    """The task whose product a part begins with, as a need; none where nothing in the slot names weights."""
    found = of_part(spec, variant)
    return kept(store, found, phase) if found is not None else {}


def check(spec: RunSpec) -> None:
    """Read and check the weights of every phase. Raises InputError or RecipeError at their place in the recipe."""
    pins.check(spec, places_of(spec))
    for phase in spec.phases:
        which = Which.of(phase)
        if phase.begins_with_recipe and (where := of_model(spec, phase.name, which, phase.options.get("weights"))):
            begin_of(where, lower(model_of(spec, which), device="meta").state_dict())
        if phase.entry.name == "incubate" and spec.split:
            for found in variants(spec).values():
                for variant in found:
                    of_part(spec, variant)
