"""`assembler cuts`: where a model can be cut into slots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from assembler.cli import say
from assembler.cli.options import Overrides, Recipe

if TYPE_CHECKING:
    from assembler.pipeline.cutting import Cutting, Part

Slots = Annotated[
    int | None,
    typer.Option("--slots", min=1, metavar="K", help="Propose K slots, the largest as small as can be."),
]
By = Annotated[Literal["flops", "params"], typer.Option("--by", help="What the slots are balanced by.")]


def cuts(recipe: Recipe, override: Overrides = None, slots: Slots = None, by: By = "flops") -> dict[str, Any]:
    """Show where a model can be cut into slots: every region that one value enters and one leaves.

    A region is a step, a container or a run of steps (`stem..stage.0`), by the name that a run's `split:` takes. What
    it reads beside the value that it carries on (a mask, the embedding of a time) is under `reads`. FLOPs are those of
    one sample. Any neighbours of the chain, marked >, can be one slot together.

    \b
        assembler cuts poolformer
        assembler cuts poolformer --slots 4 --by params
    """
    from assembler.pipeline.cutting import cuts as cut

    found = cut(recipe, *(override or ()), slots=slots, by=by)
    if found.proposal:
        say.show(_table(found.proposal, f"{found.name} in {len(found.proposal)} slots"))
        say.line(f"split: [{', '.join(p.name for p in found.proposal)}]")
    else:
        _places(found)
    for path, why in found.torn.items():
        say.line(f"'{path}' is no slot: {why}")
    return found.data()


def _places(found: Cutting) -> None:
    """The chain and every container; single steps inside containers are counted."""
    chain = set(found.chain)
    shown = [p for p in found.parts if p.name in chain or p.steps > 1]
    say.show(_table(shown, found.name, chain))
    if hidden := len(found.parts) - len(shown):
        say.line(f"and {hidden:,} single steps inside these, which --json lists")


def _table(parts: Iterable[Part], title: str, chain: Iterable[str] = ()) -> Any:
    from assembler.report.numbers import count

    parts = list(parts)
    beside = ("reads",) if any(p.sides for p in parts) else ()
    table = say.table("region", "steps", "in", *beside, "out", "params", "FLOPs", title=title)
    for part in parts:
        mark = "> " if part.name in chain else "  " if chain else ""
        ends = (_shape(part.entering), *(", ".join(part.sides) for _ in beside), _shape(part.leaving))
        say.row(table, f"{mark}{part.name}", f"{part.steps:,}", *ends, count(part.params), count(part.flops))
    return table


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(['B', *map(str, shape[1:])])}]"
