"""`assembler verify`: whether the claims of a recipe hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.guard import AnswerError
from assembler.cli.options import Device, Overrides, Recipe, Workers

if TYPE_CHECKING:
    from assembler.pipeline.claims.arms import Arm
    from assembler.pipeline.claims.exact import Number
    from assembler.pipeline.claims.verify import Verdict

Wanted = Annotated[
    list[str] | None, typer.Option("--claim", metavar="NAME", help="Only the claim of that name. Repeatable.")
]


def verify(
    recipe: Recipe, claim: Wanted = None, override: Overrides = None, workers: Workers = None, device: Device = "auto"
) -> dict[str, Any]:
    """Measure what a recipe claims.

    A claim is a check of its model (`assembler ls checks`), or a comparison of arms that are trained for it on paired
    seeds and an equal budget. Exit code 1 if one does not hold. What has been trained already is not trained again.

    \b
        assembler verify gpt2
        assembler verify my/run.yaml --claim norms --json
    """
    from assembler.recipe.document import load

    document = load(recipe, override or ())
    from assembler.pipeline.claims.verify import verify as measure
    from assembler.pipeline.progress import Progress

    with Progress() as progress:
        found = measure(
            document,
            claims=claim or (),
            workers=workers,
            device=device,
            on_event=progress.event,
            on_phase=progress.phase,
            on_tasks=progress.tasks,
        )
    _tell(document.name, found)
    data = {"recipe": document.name, "holds": all(v.holds for v in found), "claims": [v.data() for v in found]}
    if not data["holds"]:
        raise AnswerError(data)
    return data


def _tell(name: str, found: list[Verdict]) -> None:
    table = say.table("claim", "measures", "found", "expected", "", left=5, title=name)
    for one in found:
        style = None if one.holds else "red"
        said = one.reason or _found(one)
        say.row(table, one.claim, one.measures, said, one.expect, _word(one), style=style)
    say.show(table)
    for one in found:
        if one.arms:
            say.show(_arms(one))
    held = sum(one.holds for one in found)
    say.line(f"{held} of {len(found)} claims hold")


def _word(one: Verdict) -> str:
    if one.holds:
        return "holds"
    return "does not hold" if one.finite else "does not hold: not finite"


def _found(one: Verdict) -> str:
    if one.arms:
        return ", ".join(f"{arm.name} {_mean(arm)}" for arm in one.arms)
    several = list(dict.fromkeys(map(_number, one.values)))
    return ", ".join(several) if len(several) < 4 else f"{several[0]}, ... ({len(one.values)} seeds)"


def _arms(one: Verdict) -> Any:
    """The arms of a comparison, seed by seed."""
    seeds = ", ".join(map(str, one.seeds))
    columns = ("arm", "mean", f"seeds {seeds}", f"minus {one.arms[0].name}", "params", "train FLOPs", "steps")
    table = say.table(
        *columns, left=4, title=f"{one.claim}: {one.measures}; holds in {one.held} of {len(one.seeds)} seeds"
    )
    for arm in one.arms:
        steps = ", ".join(f"{phase} {n:,}" for phase, n in arm.steps.items()) or "-"
        each = ", ".join(map(_number, arm.values))
        spent = f"{arm.train_flops:.3g}" if arm.train_flops else "-"
        say.row(table, arm.name, _mean(arm), each, _gap(arm), f"{arm.params:,}", spent, steps)
    return table


def _mean(arm: Arm) -> str:
    return _number(arm.mean) + (f" ± {_number(arm.std)}" if arm.std is not None else "")


def _gap(arm: Arm) -> str:
    """The paired difference to the first arm."""
    import statistics

    spread = f" ± {_number(statistics.stdev(arm.gaps))}" if len(arm.gaps) > 1 else ""
    return f"{statistics.fmean(arm.gaps):+.4g}{spread}"


def _number(value: Number) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_number, value))}]"
    whole = isinstance(value, int) or (value.is_integer() and abs(value) < 1e15)
    return f"{int(value):,}" if whole else f"{value:.4g}"
