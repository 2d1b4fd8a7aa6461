"""Rich tables for the terminal: summary with baselines, phases, plan, parts. rich is imported when one is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assembler.report import tables
from assembler.report.data import Part, Run, items, number, read_run, text
from assembler.report.numbers import NONE, count, mean, points, score, seconds, spread

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One line of a plan: a step, its op, the shape that leaves it, its parameters and its FLOPs for one sample."""

    path: str
    op: str
    shape: str
    params: int | None = None
    flops: int | None = None


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The model, the teacher and every baseline: test score, difference, parameters and training FLOPs.

    Takes what stands in summary.json; what is missing there becomes a dash.
    """
    run = Run(Path(), summary=summary)
    result, teacher = run.section("result"), run.teacher
    ours = tables.mean_of(result, "test")
    columns = ("model", f"test {run.metric}", "difference", "params", "training FLOPs")
    table = _table(_plain(run.summary.get("recipe")), *columns)
    figure = spread(ours, tables.deviation_of(result), run.metric)
    own_params = count(number(result.get("params")))
    table.add_row(*_texts(run.made[0], figure, "", own_params, count(run.path_flops)), style="bold")
    if teacher:
        theirs = number(teacher.get("test"))
        figure = spread(theirs, tables.deviation_of(teacher), run.metric)
        table.add_row(*_texts("teacher", figure, _gap(theirs, ours, run.metric),
                              count(number(teacher.get("params"))), NONE))  # fmt: skip
    for baseline in items(summary.get("baselines")):
        own = tables.mean_of(baseline, "test_mean")
        name = _plain(baseline.get("name")) + "  (wins)" * (baseline.get("wins") is True)
        table.add_row(*_texts(name, spread(own, tables.deviation_of(baseline), run.metric), _gap(own, ours, run.metric),
                              NONE, count(number(baseline.get("train_flops")))),
                      style="yellow" if baseline.get("wins") is True else None)  # fmt: skip
    table.caption = _texts(_plain(summary.get("verdict")))[0] if summary.get("verdict") else None
    return table


def phases_table(summary: Mapping[str, Any]) -> Table:
    """Seconds and training FLOPs of every phase."""
    run = Run(Path(), summary=summary)
    timed, counted = run.section("time"), run.section("cost", "train_flops")
    table = _table("", "phase", "time", "training FLOPs")
    for phase in run.phases:
        table.add_row(*_texts(phase, seconds(number(timed.get(phase))), count(number(counted.get(phase)))))
    return table


def plan_table(rows: Sequence[PlanRow], *, title: str = "") -> Table:
    """The steps of a model with shapes and costs, and their sum in the last line."""
    table = _table(title, "step", "op", "shape", "params", "FLOPs")
    table.columns[1].justify = "left"
    for row in rows:
        table.add_row(*_texts(row.path, row.op, row.shape, count(row.params or None), count(row.flops or None)))
    table.add_section()
    params, flops = (sum(v or 0 for v in column) for column in zip(*((r.params, r.flops) for r in rows), strict=True)) \
        if rows else (0, 0)  # fmt: skip
    table.add_row(*_texts(f"{len(rows):,} steps", "", "", count(params), count(flops)), style="bold")
    return table


def parts_table(parts: Sequence[Part], choice: Mapping[str, str] | None = None, metric: str = "accuracy") -> Table:
    """A line per slot and variant: parameters, mean loss and score over seeds; the chosen variant in bold."""
    table = _table("", "slot", "variant", "params", "seeds", "loss", metric, "note")
    table.columns[1].justify = "left"
    table.columns[6].justify = "left"
    grouped: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        grouped.setdefault((part.slot, part.variant), []).append(part)
    before = None
    for (slot, variant), found in grouped.items():
        if before not in (None, slot):
            table.add_section()
        done = [p for p in found if not p.failed]
        reason = next((p.reason or "failed" for p in found if p.failed), "")
        chosen = (choice or {}).get(slot) == variant
        loss = mean(p.loss for p in done if p.loss is not None)
        value = mean(p.score for p in done if p.score is not None)
        note = "; ".join(filter(None, ("chosen" * chosen, reason and f"{len(found) - len(done)} failed: {reason}")))
        table.add_row(*_texts(slot if slot != before else "", variant, count(found[0].params),
                              f"{len(done)}/{len(found)}", NONE if loss is None else f"{loss:.4g}",
                              score(value, metric), note), style="bold" if chosen else None)  # fmt: skip
        before = slot
    return table


def importance_table(name: str, study: Mapping[str, Any]) -> Table:
    """The share of the variance of the first objective that each decision explains."""
    table = _table(name, "decision", "explains")
    for decision, share in dict(study.get("importance") or {}).items():
        table.add_row(*_texts(str(decision), f"{100 * (number(share) or 0.0):.0f} %"))
    return table


def run_tables(run_dir: Path) -> list[Table]:
    """The summary, the phases and the parts of a run folder; of a search which decisions matter.

    Raises InputError where there is no such folder.
    """
    run = read_run(run_dir)
    if study := run.section("study"):
        return [importance_table(text(run.summary.get("recipe")), study)]
    found = [summary_table(run.summary), phases_table(run.summary)]
    return [*found, parts_table(run.parts, run.choice, run.metric)] if run.parts else found


def _gap(own: float | None, ours: float | None, metric: str) -> str:
    return NONE if own is None or ours is None else points(own - ours, metric)


def _plain(value: Any) -> str:
    """Names from files without control characters, which a terminal would obey."""
    return "".join(c for c in text(value) if c.isprintable())


def _texts(*cells: str) -> list[Any]:
    """Cells that rich does not read as markup."""
    from rich.text import Text

    return [Text(_plain(cell)) for cell in cells]


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=_texts(title)[0] if title else None, box=box.SIMPLE_HEAD, title_justify="left",
                  caption_justify="left")  # fmt: skip
    for at, name in enumerate(columns):
        table.add_column(_texts(name)[0], justify="left" if at == 0 else "right", overflow="fold")
    return table
