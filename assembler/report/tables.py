"""HTML tables: the parts tried in each slot as heat strips, the comparison in figures, phases with their costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

from assembler.report.data import Part, Run, items, number, numbers, text
from assembler.report.numbers import NONE, count, is_share, mean, plural, points, score, short, spread
from assembler.report.svg import clip, esc

MOST_ROWS = 24
MOST_SEEDS = 5
MOST_REASONS = 6


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, cls: str = "") -> str:
    """A table of cells that are markup already; the first column is text, the others are figures."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<table class="{cls}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def cell(words: object, *, title: str = "", cls: str = "", style: str = "") -> str:
    """One cell of escaped text."""
    given = {"title": title, "class": cls, "style": style}
    attributes = "".join(f' {name}="{esc(value)}"' for name, value in given.items() if value)
    return f"<td{attributes}>{esc(words)}</td>"


def parts(run: Run) -> str:
    """One table per slot: a row per variant, a tinted cell per seed, the winner's variant marked."""
    slots: dict[str, list[Part]] = {text(s.get("name")): [] for s in items(run.summary.get("slots"))}
    for part in run.parts:
        slots.setdefault(part.slot, []).append(part)
    shown = [_slot(run, slot, inside) for slot, inside in slots.items() if inside]
    return f'<div class="slots">{"".join(shown)}</div>'


def _slot(run: Run, slot: str, inside: Sequence[Part]) -> str:
    scored = any(p.score is not None for p in inside)
    seeds = sorted({p.seed for p in inside})
    values = [v for p in inside if (v := _value(p, scored)) is not None]
    ends = (min(values), max(values)) if values else (0.0, 1.0)
    variants: dict[str, list[Part]] = {}
    for part in inside:
        variants.setdefault(part.variant, []).append(part)
    sign = 1 if scored else -1
    averages = {name: mean(v for p in own if (v := _value(p, scored)) is not None) for name, own in variants.items()}
    order = sorted(variants, key=lambda n: -sign * a if (a := averages[n]) is not None else float("inf"))
    chosen = run.choice.get(slot)
    kept = [n for at, n in enumerate(order) if at < MOST_ROWS or n == chosen]
    wide = len(seeds) > MOST_SEEDS
    columns = ["worst", "best"] if wide else [f"seed&nbsp;{s}" if s == seeds[0] else f"{s}" for s in seeds]
    head = ["variant", "params", *columns, "mean"]
    rows = []
    for name in kept:
        found = {p.seed: p for p in variants[name]}
        strip = _extremes(run, found, scored) if wide else [_heat(run, found.get(s), ends, scored) for s in seeds]
        mark = "● " if name == chosen else ""
        shown = mark + clip(name, 122 if wide else 104 - 14 * bool(mark), 13)
        average = cell(_figure(averages[name], run.metric, scored), cls="strong")
        costs = cell(count(next((p.params for p in found.values() if p.params is not None), None)))
        rows.append([cell(shown, title=name, cls="name" + " chosen" * bool(mark)), costs, *strip, average])
    rest = len(order) - len(kept)
    more = f'<p class="soft more">… and {plural(rest, "variant")} more, in parts.jsonl</p>' if rest else ""
    what = f"validation {run.metric}{', %' if is_share(run.metric) else ''}" if scored else "loss, lower is better"
    title = f'<h3>{esc(slot)} <span class="soft">{esc(what)}</span></h3>'
    drawn = f'<div class="scroll">{table(head, rows, cls="heat")}</div>'
    return f'<div class="slot">{title}{drawn}{more}{_failures(inside)}</div>'


def _value(part: Part, scored: bool) -> float | None:
    return None if part.failed else part.score if scored else part.loss


def _figure(value: float | None, metric: str, scored: bool) -> str:
    return NONE if value is None else f"{100 * value:.1f}" if scored and is_share(metric) else short(value)


def _heat(run: Run, part: Part | None, ends: tuple[float, float], scored: bool) -> str:
    """A seed's cell, the better the darker."""
    if part is None:
        return cell(NONE, cls="soft")
    if part.failed:
        return cell("failed", title=part.reason or "no reason given", cls="bad")
    value = _value(part, scored)
    if value is None:
        return cell(NONE, title="not scored", cls="soft")
    share = (value - ends[0]) / (ends[1] - ends[0]) if ends[1] > ends[0] else 0.5
    words = [f"{part.slot} = {part.variant}, seed {part.seed}"]
    words += [f"{run.metric} {score(part.score, run.metric)}"] if part.score is not None else []
    words += [f"loss {short(part.loss)}"] if part.loss is not None else []
    words += [f"{count(part.train_flops)} training FLOPs"] if part.train_flops is not None else []
    tint = f"--a:{0.04 + 0.42 * (share if scored else 1 - share):.2f}"
    return cell(_figure(value, run.metric, scored), title=", ".join(words), cls="tint", style=tint)


def _extremes(run: Run, found: Mapping[int, Part], scored: bool) -> list[str]:
    values = [v for p in found.values() if (v := _value(p, scored)) is not None]
    ends = (min(values), max(values)) if values else (None, None)
    return [cell(_figure(v, run.metric, scored)) for v in (ends if scored else ends[::-1])]


def _failures(inside: Sequence[Part]) -> str:
    """What failed and why, a line for each variant and reason."""
    failed: dict[tuple[str, str], list[int]] = {}
    for part in inside:
        if part.failed:
            failed.setdefault((part.variant, part.reason or "no reason given"), []).append(part.seed)
    lines = []
    for (variant, reason), seeds in list(failed.items())[:MOST_REASONS]:
        which = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds[:8]))}{' …' * (len(seeds) > 8)}"
        lines.append(f"<li><b>{esc(variant)}</b>, {which}: {esc(reason)}</li>")
    if len(failed) > MOST_REASONS:
        lines.append(f"<li>… and {len(failed) - MOST_REASONS} more</li>")
    return f'<ul class="bad">{"".join(lines)}</ul>' if failed else ""


def comparison(run: Run) -> str:
    """The comparison in figures: ours, the teacher, every baseline."""
    result, ours = run.section("result"), mean_of(run.section("result"), "test")
    rows = [_row(*run.made, result, run.metric, None, run.path_flops)]
    for baseline in items(run.summary.get("baselines")):
        own = mean_of(baseline, "test_mean")
        gap = own - ours if own is not None and ours is not None else None
        rows.append(_row(text(baseline.get("name")), text(baseline.get("doc")), baseline, run.metric, gap,
                         number(baseline.get("train_flops")), wins=baseline.get("wins") is True))  # fmt: skip
    return table(["model", f"test {esc(run.metric)}", "difference", "training FLOPs"], rows, cls="figures")


def _row(
    name: str, doc: str, source: Mapping[str, Any], metric: str, gap: float | None, cost: float | None,
    *, wins: bool = False,
) -> list[str]:  # fmt: skip
    average, deviation = mean_of(source, "test_mean" if "test_mean" in source else "test"), deviation_of(source)
    difference = NONE if gap is None else points(gap, metric)
    about = f"<b>{esc(name)}</b>" + " <em>wins</em>" * wins
    about += f'<br><span class="soft">{esc(doc)}</span>' * bool(doc)
    figure = spread(average, deviation, metric)
    return [f"<td>{about}</td>", cell(figure), cell(difference, cls="warn" if wins else ""), cell(count(cost))]


def mean_of(source: Mapping[str, Any], key: str) -> float | None:
    """The mean under `key`, or that of `test_per_seed`."""
    found = number(source.get(key))
    return found if found is not None else mean(numbers(source.get("test_per_seed")))


def deviation_of(source: Mapping[str, Any]) -> float | None:
    """The standard deviation `test_std`, or that of `test_per_seed`."""
    found, values = number(source.get("test_std")), numbers(source.get("test_per_seed"))
    return found if found is not None else stdev(values) if len(values) > 1 else None
