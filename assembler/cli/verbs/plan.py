"""`assembler plan`: what a recipe would do and cost."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Overrides, Recipe
from assembler.recipe.document import Document, load

if TYPE_CHECKING:
    from assembler.pipeline.plan import Plan, SlotPlan


Time = Annotated[bool, typer.Option("--time", help="Also run each step and show the ten slowest.")]
_SLOWEST = 10


def plan(recipe: Recipe, override: Overrides = None, time: Time = False) -> dict[str, Any]:
    """Show shapes, parameters, FLOPs and the size of the space.

    For a run also the variants of each slot and how many parts are to be trained. FLOPs are those of one sample.
    Nothing is trained. With --time each step is run alone, in training mode for forward and backward.

    \b
        assembler plan quickstart
        assembler plan poolformer@s24 -o vars.size=160
    """
    document = load(recipe, override or ())
    from assembler.pipeline.plan import plan_model, plan_run
    from assembler.pipeline.spec import read
    from assembler.report.terminal import plan_table

    found = plan_run(read(document)) if document.kind == "run" else plan_model(document)
    say.show(plan_table(found.rows, title=found.name))
    if found.slots:
        say.show(_slots(found.slots))
    _tell(found)
    return found.data() | ({"time": _timed(document)} if time else {})


def _timed(document: Document) -> list[dict[str, Any]]:
    """Time every step, and show the slowest."""
    from assembler.compile.timing import REPEATS, timings
    from assembler.wiring.build import build

    graph = build(document.default, name=document.name)
    found = sorted(timings(graph), key=lambda t: t.both, reverse=True)
    whole = sum(t.both for t in found)
    forward = sum(t.forward for t in found)
    table = say.table("slowest steps", "op", "place", "forward ms", "and backward ms", "share", left=3)
    for t in found[:_SLOWEST]:
        place = f"{os.path.relpath(t.span.file)}:{t.span.line}" if t.span else ""
        say.row(table, t.path, t.op, place, f"{t.forward:.3f}", f"{t.both:.3f}", f"{t.both / whole:.0%}")
    say.show(table)
    batch = graph.inputs[0][1].shape[0] if graph.inputs[0][1].shape else 1
    said = f"time         {forward:.3f} ms forward, {whole:.3f} ms with backward, all {len(found):,} steps"
    say.line(f"{said}; a batch of {batch} on the CPU, medians of {REPEATS}")
    return [
        {"path": t.path, "op": t.op, "line": str(t.span or ""), "forward_ms": t.forward, "both_ms": t.both}
        for t in found
    ]


def _slots(slots: Iterable[SlotPlan]) -> Any:
    table = say.table("slot", "variants", "params", "FLOPs", "labels")
    table.columns[-1].justify = "left"
    for slot in slots:
        costs = [cost for _, cost in slot.variants]
        params, flops = _range([c.params for c in costs]), _range([c.flops for c in costs])
        say.row(table, slot.name, len(costs), params, flops, ", ".join(label for label, _ in slot.variants))
    return table


def _range(values: list[int]) -> str:
    from assembler.report.numbers import count

    low, high = min(values), max(values)
    return count(low) if low == high else f"{count(low)} - {count(high)}"


def _space(found: Plan) -> str:
    said = "countless" if found.space_size is None else f"{found.space_size:,}"
    if found.allowed not in (None, found.space_size):
        said += f" choices, {found.allowed:,} meet where"
    if found.architectures is not None:
        said += f"; {found.architectures:,} distinct architectures"
    said += f"; {' and '.join(found.where)} is looked at once it is built" if found.where else ""
    return said + (f"; and moves: {', '.join(found.moves)}" if found.moves else "")


def _tell(found: Plan) -> None:
    trained = [sum(getattr(row, name) or 0 for row in found.rows) for name in ("params", "flops")]
    for name, whole in zip(("params", "flops"), trained, strict=True):
        own = getattr(found.cost, name)
        more = "" if whole == own else f" in evaluation; {whole:,} with the steps that only training has"
        say.line(f"{'FLOPs' if name == 'flops' else name:<12} {own:,}{more}")
    if found.left_out:
        steps = ", ".join(found.left_out[:_SLOWEST]) + ", ..." * (len(found.left_out) > _SLOWEST)
        say.line(f"left out     {steps}: not computed, since a block gives it out and nothing reads it")
    say.line(f"fingerprint  {found.fingerprint}")
    if found.weights:
        say.line(f"weights      {found.weights}")
    say.line(f"space        {_space(found)}")
    if found.split:
        say.line(f"slots        {len(found.slots)}: {found.split}")
    if found.phases:
        say.line(f"phases       {', '.join(found.phases)}")
        say.line(f"parts        {found.parts:,} to train, over all seeds")
    if found.unchecked:
        say.line(f"data         not compared with the models: {found.unchecked}")
