"""What is wrong with what a run makes of models that it has: lists of rewrites, slots of others; without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from assembler.errors import AssemblerError, Problem, Span, near
from assembler.graph.core import Graph
from assembler.graph.runs import ends
from assembler.pipeline.checking.given import registered
from assembler.recipe.values import Leaf, Map, Seq, Value, plain
from assembler.registry import lookup
from assembler.rewrites.spec import order

GraphOf = Callable[[str], Graph | None]
_EXAMPLE = "for instance [fold_batch_norm, {rewrite: low_rank, at: head, rank: 8}]"


def source(value: Value, models: list[str], what: str = "read") -> Iterator[Problem]:
    """What is wrong with the names of models, of which each `what` happens to."""
    for one in value.items if isinstance(value, Seq) else (value,):
        name = plain(one)
        if isinstance(name, str) and name not in models:
            made = f"models made before it: {', '.join(models)}"
            made = made if models else "put a phase 'teacher' or 'train' before it"
            said = f"the model '{name}' is to be {what}, and no phase before this one makes it"
            yield Problem(said, one.span, hint=near(name, models) or made)


def taken(value: Value, models: list[str], host: Graph | None, graph_of: GraphOf) -> Iterator[Problem]:
    """What is wrong with the slots of a model that others are to fill; graphs are None where they cannot be told."""
    if not isinstance(value, Map) or not len(value):
        yield Problem("'take' must be a mapping of slots to models", value.span, hint="for instance {stage.1: teacher}")
        return
    for slot, said in value:
        yield from _region(host, slot, value.key_span(slot))
        if isinstance(said, Map):
            yield from _nearest(said, models)
        if not isinstance(said, Leaf) or not isinstance(said.value, str):
            continue
        name, path = taken_from(said.value, slot)
        wrong = list(source(Leaf(name, said.span), models))
        yield from wrong or (_region(graph_of(name), path, said.span) if path != slot else ())


def taken_from(said: str, slot: str) -> tuple[str, str]:
    """The model that a slot is taken from, and where it lies in that: `other`, or `other.stage.2`.

    >>> taken_from("other.stage.2", "stage.1")
    ('other', 'stage.2')
    """
    name, _, path = said.partition(".")
    return name, path or slot


def candidates(said: Mapping[str, Any]) -> list[str]:
    """The models of `{nearest: [other, third]}`, or of `{nearest: other}`."""
    names = said["nearest"]
    return [names] if isinstance(names, str) else list(names)


def _nearest(value: Map, models: list[str]) -> Iterator[Problem]:
    """What is wrong with `{nearest: [other, third]}`."""
    unknown = [key for key in value.keys() if key != "nearest"]
    for key in unknown:
        hint = near(key, ("nearest",)) or "for instance {nearest: [teacher]}"
        yield Problem(f"a slot that is taken has no '{key}'", value.key_span(key), hint=hint)
    names = value.get("nearest", Seq())
    if plain(names) == [] and not unknown:
        yield Problem(
            "it is not said of which models the nearest steps are taken", value.span, hint="{nearest: [teacher]}"
        )
    yield from source(names, models)


def _region(graph: Graph | None, slot: str, span: Span | None) -> Iterator[Problem]:
    """What is wrong with the name of a slot of a model."""
    if graph is None:
        return
    try:
        for path in ends(slot) or (slot,):
            graph.region(path)
    except AssemblerError as error:
        yield from error.at(span).problems


def rewrites(value: Value, graph: Graph | None, key: str = "apply") -> Iterator[Problem]:
    """What is wrong with the rewrites under `key`; `graph` is the recipe's, where that is what is rewritten."""
    if not isinstance(value, Seq) or not len(value):
        yield Problem(f"'{key}' must be a list of rewrites", value.span, hint=_EXAMPLE)
        return
    for number, one in enumerate(value):
        found = list(registered("rewrite", one, "rewrite", ("at",)))
        yield from found or _one(one, graph if number == 0 else None)


def _one(value: Value, graph: Graph | None) -> Iterator[Problem]:
    at = value.get("at") if isinstance(value, Map) else None
    if at is not None and not (isinstance(at, Leaf) and isinstance(at.value, str)):
        yield Problem("'at' must be the path of a step, or a pattern", at.span, hint="for instance stage.*.block")
        return
    written = plain(value)
    name = written if isinstance(written, str) else written["rewrite"]
    try:
        if lookup("rewrite", name).module.startswith("assembler."):  # looking at a plug-in never runs it
            order(written)
    except AssemblerError as error:
        yield from error.at(value.span).problems
    if at is not None and graph is not None and "*" not in plain(at):
        try:
            graph.resolve(plain(at))
        except AssemblerError as error:
            yield from error.at(at.span).problems
