"""`assembler plan`: what a recipe would do and cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from assembler.cli import say
from assembler.cli.options import Overrides, Recipe
from assembler.recipe.document import load

if TYPE_CHECKING:
    from assembler.pipeline.plan import Plan, SlotPlan


def plan(recipe: Recipe, override: Overrides = None) -> dict[str, Any]:
    """Show shapes, parameters, FLOPs and the size of the space.

    For a run also the variants of each slot and how many parts are to be trained. FLOPs are those of one sample.
    Nothing is trained.

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
    return found.data()


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


def _tell(found: Plan) -> None:
    say.line(f"params       {found.cost.params:,}")
    say.line(f"FLOPs        {found.cost.flops:,}")
    say.line(f"fingerprint  {found.fingerprint}")
    say.line(f"space        {'countless' if found.space_size is None else f'{found.space_size:,}'}")
    if found.phases:
        say.line(f"phases       {', '.join(found.phases)}")
        say.line(f"parts        {found.parts:,} to train, over all seeds")
