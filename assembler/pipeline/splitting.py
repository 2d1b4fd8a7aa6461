"""`split:` of a run, the slots: names, patterns and runs of steps, a number of balanced ones, or `auto`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

from assembler.errors import AssemblerError, GraphError, Problem, RecipeError, Span
from assembler.graph.core import Graph
from assembler.graph.edit import cut
from assembler.graph.runs import DOTS, ends, steps_under
from assembler.recipe.choices import Space
from assembler.recipe.document import Document
from assembler.recipe.paths import get
from assembler.recipe.spread import spread
from assembler.recipe.values import Leaf, Map, Seq, Value
from assembler.registry import checks, lookup

AUTO = "auto"
MOST = 4
"""How many balanced slots `auto` makes where it can."""
_FORMS = "for instance [stage.*], [stem..stage.0, head], 4, or auto"


@dataclass(frozen=True)
class Split:
    """The slots of a run, and how they came about where the recipe does not name them."""

    slots: tuple[str, ...] = ()
    how: str = ""


def problems(document: Document, graph: Graph | None, decisions: Space, *, sound: bool) -> Iterator[Problem]:
    """What is wrong with `split:`, as far as can be told without counting. `sound` says that the model is right."""
    value = document.tree.get("split")
    if _counted(value):
        yield from _number(value, graph)
        return
    found: list[str] = []
    for item in slot_items(value):
        if not isinstance(item, Leaf) or not isinstance(item.value, str):
            yield Problem("'split' must be a list of steps, a number of slots, or auto", item.span, hint=_FORMS)
            return
        if graph is None:
            continue
        try:
            named = _named(document.default, graph, item.value, item.span, sound)
        except AssemblerError as error:
            yield from error.at(item.span).problems
        else:
            yield from _overlapping(graph if sound else None, found, named, item)
            found += named
    if sound and found:
        yield from outside(document, decisions, tuple(found), graph)


def split_of(document: Document, graph: Graph, decisions: Space) -> Split:
    """The slots of a run, each by its name.

    Raises RecipeError, at the place in the file, where there are not as many as asked for or a decision is in none.
    """
    value = document.tree.get("split")
    if not _counted(value):
        named = (_spread(document.default, str(item.value), item.span) for item in slot_items(value)
                 if isinstance(item, Leaf))  # fmt: skip
        return Split(tuple(slot for slots in named for slot in slots))
    try:
        found = _computed(graph, value, decisions)
    except GraphError as error:
        raise error.at(value.span) from None
    if wrong := list(outside(document, decisions, found.slots, graph)):
        raise RecipeError(wrong)
    return found


def _computed(graph: Graph, value: Leaf, decisions: Space) -> Split:
    from assembler.graph.balance import balanced, repeated
    from assembler.graph.cuts import cuts
    from assembler.pipeline.cutting import weights_of

    found, together = cuts(graph), [steps_under(graph, d.name.partition("[")[0]) for d in decisions.unmoved.decisions]
    if value.value == AUTO:
        slots = tuple(s.path for s in repeated(found))
        if slots and all(_holding(d.name, slots, graph) for d in decisions.unmoved.decisions):
            return Split(slots, "the copies of repeated containers")
    weights, unit = weights_of(graph, "flops")
    counts = (int(value.value),) if isinstance(value.value, int) else range(MOST, 0, -1)
    for count in counts:
        try:
            parts = balanced(graph, found, weights, count, together)
        except GraphError:
            if count == counts[-1]:
                raise
            continue
        most = max(sum(weights[i] for i in s.ids) for s in parts) / max(1, sum(weights.values()))
        return Split(tuple(s.path for s in parts), f"balanced by {unit}, the largest has {most:.0%} of the model's")
    raise AssertionError


def outside(document: Document, decisions: Space, slots: tuple[str, ...], graph: Graph | None) -> Iterator[Problem]:
    """Decisions that lie in no slot."""
    for decision in decisions.unmoved.decisions:
        try:
            slot_of(decision.name, slots, graph)
        except RecipeError as error:
            laid = get(document.model, decision.name.partition("[")[0])
            yield from error.at(laid.span if laid is not None else None).problems


def slot_items(value: Value | None) -> tuple[Value, ...]:
    """The entries of `split:`; one step may stand without a list."""
    if value is None:
        return ()
    return value.items if isinstance(value, Seq) and len(value) else (value,)


def slot_of(decision: str, slots: tuple[str, ...], graph: Graph | None = None) -> str:
    """The slot that a decision belongs to. Raises RecipeError, naming the nearest path that would, if none.

    The model's `graph` tells which steps a run of steps holds.
    """
    if found := _holding(decision, slots, graph):
        return found
    hint = "split at a step that holds it, or take it out of the space"
    tops = {slot.split(".")[0] for slot in slots if "." in slot}
    if decision.split(".")[0] in tops and not any(part.isdigit() for part in decision.split(".")):
        hint = "one choice for all copies binds the slots; write it for each copy (stage.*.block.mixer)"
    some = ", ".join(slots[:4]) + (", ..." if len(slots) > 4 else "")
    raise RecipeError(f"the decision '{decision}' does not lie within one slot ({some})", hint=hint)


def _holding(decision: str, slots: tuple[str, ...], graph: Graph | None) -> str:
    for slot in slots:
        if decision == slot or decision.startswith((f"{slot}.", f"{slot}[")):
            return slot
        if ends(slot) and graph is not None:
            changed = steps_under(graph, decision.partition("[")[0])
            if changed and set(changed) <= set(graph.region(slot)):
                return slot
    return ""


def _counted(value: Value | None) -> TypeGuard[Leaf]:
    """Whether `split:` is a number or `auto`, and not names."""
    return isinstance(value, Leaf) and (value.value == AUTO or not isinstance(value.value, str | None))


def _number(value: Leaf, graph: Graph | None) -> Iterator[Problem]:
    said = value.value
    if said == AUTO:
        return
    if type(said) is not int or said < 1:
        yield Problem(f"'split' must be at least 1 slot, not {checks.shown(said)}", value.span, hint=_FORMS)
    elif graph is not None and said > len(graph):
        yield Problem(f"the model cannot be cut into {said:,} slots: it has {len(graph):,} steps", value.span)


def _named(model: Map, graph: Graph, text: str, span: Span | None, sound: bool) -> list[str]:
    found = _spread(model, text, span)
    for slot in found:
        for path in ends(slot) or (slot,):
            graph.region(path)
        if sound:
            cut(graph, slot)
            _check_computes(graph, slot, span)
    return found


def _check_computes(graph: Graph, slot: str, span: Span | None) -> None:
    """Raise RecipeError for a slot that is a tensor of the weights alone, which nothing could stand in for."""
    node = graph.nodes.get(slot)
    if node is not None and graph.region(slot) == (slot,) and lookup("op", node.op).option("bare"):
        what = f"'{slot}' is a tensor of the weights and computes nothing"
        raise RecipeError(Problem(what, span, hint="name the step or container that reads it"))


def _spread(model: Map, text: str, span: Span | None) -> list[str]:
    run = ends(text)
    if run is None:
        return spread(model, text, span)
    if "*" in text or not all(run):
        what = f"'{text}' is no run of steps"
        raise RecipeError(Problem(what, span, hint=f"for instance stem{DOTS}stage.0, both ends without '*'"))
    return [DOTS.join(run)]


def _overlapping(graph: Graph | None, before: list[str], named: list[str], item: Leaf) -> Iterator[Problem]:
    """New slots that lie in one before or around it, or stand there already."""
    for slot in named:
        if slot in before or named.count(slot) > 1:
            yield Problem(f"the slot '{slot}' stands twice", item.span, hint="a step belongs to one slot")
            return
        for other in (s for s in (*before, *named) if s != slot and _overlap(graph, s, slot)):
            outer, inner = (slot, other) if other.startswith(f"{slot}.") else (other, slot)
            said = f"the slots '{outer}' and '{inner}' overlap"
            yield Problem(said, item.span, hint="a step belongs to one slot")
            return


def _overlap(graph: Graph | None, one: str, other: str) -> bool:
    if ends(one) or ends(other):
        return graph is not None and not set(graph.region(one)).isdisjoint(graph.region(other))
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
