"""Slots and their variants: for every slot, each combination of the choices inside it, as a graph of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from assembler.assemble.stitches import NONE, Stitches, stitched
from assembler.errors import GraphError, InputError, Problem, RecipeError, ShapeError, Span
from assembler.graph.core import Graph, TensorType
from assembler.graph.edit import Slot, cut, extract, prune, with_outputs
from assembler.graph.sides import side_paths, sides_named
from assembler.infer.shape import shapes
from assembler.pipeline.spec import RunSpec, first, slot_of
from assembler.recipe.choices import Decision, Space, decide
from assembler.recipe.choices.labels import UNNAMED
from assembler.recipe.edits import KEEP
from assembler.recipe.paths import get
from assembler.recipe.values import Map
from assembler.search.moves import every
from assembler.wiring.build import build

MOST_VARIANTS = 256


@dataclass(frozen=True)
class Variant:
    """One candidate for a slot: a label, the picks that make it, its graph, and which of its steps are stitches."""

    slot: str
    label: str
    picks: tuple[tuple[str, Any], ...]
    graph: Graph
    stitches: Stitches = NONE


def variants(spec: RunSpec) -> dict[str, tuple[Variant, ...]]:
    """The variants of every slot of a run.

    Raises RecipeError where a choice belongs to no slot or to several, and GraphError where a variant does not give
    one tensor of the slot's shape. It may read other side inputs than the slot does, or none.
    """
    base = build(spec.document.default, name=spec.document.name)
    by_slot: dict[str, list[Decision]] = {slot: [] for slot in spec.split}
    problems: list[Problem] = []
    for decision in spec.space.unmoved.decisions:
        try:
            by_slot[slot_of(decision.name, spec.split, base)].append(decision)
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)
    types = shapes(base)
    return {slot: tuple(_variants(spec, slot, tuple(found), base, types)) for slot, found in by_slot.items()}


def _variants(
    spec: RunSpec, slot: str, decisions: tuple[Decision, ...], base: Graph, types: Mapping[str, TensorType]
) -> list[Variant]:
    inner = Space(decisions)
    if inner.size is None or inner.size > MOST_VARIANTS:
        size = "countless" if inner.size is None else f"{inner.size:,}"
        hint = "give fewer candidates, or search the recipe with `assembler search`"
        raise RecipeError(f"slot '{slot}' has {size} variants, at most {MOST_VARIANTS} are trained", hint=hint)
    place = cut(base, slot)
    wanted = types[place.output]
    found: dict[tuple[str, ...], Variant] = {}
    for picks in every(inner):
        graph = build(written(spec, picks), name=spec.document.name)
        label, end = _label(inner, picks, slot), cut(graph, slot).output
        gives = _given(graph, end)
        if gives is not None and gives != wanted:
            span = _span(spec, decisions)
            what = f"'{label}' gives {gives} in slot '{slot}', the slot gives {wanted}"
            raise GraphError(Problem(what, span, path=slot))
        try:
            part = extract(graph, slot, shapes(graph), _entering(graph, base, place))
        except ShapeError as error:  # a step inside, since what the slot gives is right
            chosen = tuple(d for d in decisions if picks.get(d.name))  # others than the first candidates
            place_of, whose = _span(spec, chosen or decisions), f"with '{label}' in slot '{slot}', "
            told = [replace(p, message=f"{whose}{p.message}", span=p.span or place_of) for p in error.problems]
            raise ShapeError(told) from None
        found.setdefault(_identity(part), Variant(slot, label, tuple(picks.items()), part))
    return list(found.values())


def _entering(graph: Graph, base: Graph, place: Slot) -> str:
    """What enters a slot in a graph with other candidates around it: the value at the path that it has in `base`."""
    path = side_paths(base, [place.source], place.ids)[place.source]
    known = path in graph.nodes or path in graph.names or path in graph.input_names
    return graph.resolve(path) if known else ""


def _given(graph: Graph, end: str) -> TensorType | None:
    """The type of a step, whatever those behind it make of that; None where the graph fails before it."""
    try:
        return shapes(prune(with_outputs(graph, {"slot": end})))[end]
    except ShapeError:
        return None


def _span(spec: RunSpec, decisions: tuple[Decision, ...]) -> Span | None:
    """Where the recipe writes the choices of a slot."""
    found = (get(spec.document.model, d.name) for d in decisions)
    return next((value.span for value in found if value is not None and value.span), None)


def _identity(part: Graph) -> tuple[str, ...]:
    """What tells a part from another one: a fingerprint does not say which input is which."""
    if len(part.inputs) == 1:
        return (part.fingerprint,)
    roles = tuple((f"enters_{name}", name) for name in part.input_names)
    return (replace(part, outputs=(*part.outputs, *roles)).fingerprint, *part.input_names)


def written(spec: RunSpec, picks: Mapping[str, Any]) -> Map:
    """The run's model with the candidates of one slot that `picks` says, and the first ones elsewhere."""
    return first(decide(spec.document.model, picks), _rest(spec.space, picks))


def _rest(space: Space, picks: Mapping[str, Any]) -> Space:
    return Space(tuple(d for d in space.unmoved.decisions if d.name not in picks))


def _label(space: Space, picks: Mapping[str, Any], slot: str) -> str:
    """The variant's name: what was picked; a number or a word such as `true` with the last part of its path before.

    Where that would not tell which is which it is the path inside the slot, nothing for the slot itself, and what an
    imported model keeps is left out.
    """
    named = space.named(picks)
    last = [name.rsplit(".", 1)[-1] for name in named]
    words = [label if _telling(label) else f"{key}={label}" for key, label in zip(last, named.values(), strict=True)]
    if len(set(last)) < len(last) or len(set(words)) < len(words):  # short names would not tell which is which
        inside = {name: name.removeprefix(slot).lstrip(".") for name in named}
        words = [f"{inside[n]}={label}" if inside[n] else label for n, label in named.items() if label != KEEP]
        words = words or [KEEP]
    return " ".join(words) or "fixed"


def _telling(label: str) -> bool:
    return label[0].isalpha() and label not in UNNAMED.values()


def in_host(host: Graph, name: str, found: Mapping[str, tuple[Variant, ...]]) -> dict[str, tuple[Variant, ...]]:
    """The variants as they stand in a host: between stitches where other features enter or leave its slots.

    Raises InputError with both types where more differs, GraphError where the host lacks a value that a variant reads.
    """
    types, made = shapes(host), {}
    for slot, some in found.items():
        place = cut(host, slot)
        read = {n: kind for variant in some for n, kind in variant.graph.inputs[1:]}
        for n, i in sides_named(host, read, slot).items():
            if types[i] != read[n]:
                raise _misfit(slot, f"as '{n}'", name, types[i], read[n])
        made[slot] = tuple(_stitched(variant, types[place.source], types[place.output], name) for variant in some)
    return made


def _stitched(variant: Variant, enters: TensorType, leaves: TensorType, name: str) -> Variant:
    part = variant.graph
    gives = shapes(part)[part.outputs[0][1]]
    if (enters, leaves) == (part.inputs[0][1], gives):
        return variant
    try:
        graph, stitches = stitched(part, gives, enters, leaves, variant.slot)
    except GraphError:
        what, has, wants = ("entering", enters, part.inputs[0][1])
        if enters == wants:
            what, has, wants = "leaving", leaves, gives
        raise _misfit(variant.slot, what, name, has, wants) from None
    return replace(variant, graph=graph, stitches=stitches)


def _misfit(slot: str, what: str, name: str, has: TensorType, wants: TensorType) -> InputError:
    message = f"slot '{slot}' has {has} {what} in '{name}', and {wants} in the model"
    return InputError(message, hint="a host may have other features there, nothing else")
