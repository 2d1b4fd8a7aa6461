"""The comparison (every seed a dot, mean and deviation drawn) and where the compute went (stacked bars)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assembler.report import svg
from assembler.report.numbers import is_share, score, short, spread

ROW = 54.0


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of the comparison: a model, its test scores and what it cost to train."""

    name: str
    mean: float | None
    deviation: float | None
    seeds: Sequence[float]
    cost: str
    ours: bool = False
    wins: bool = False


def comparison(arms: Sequence[Arm], metric: str, width: float, reference: tuple[str, float] | None = None) -> str:
    """A strip per arm. `reference` is a line across all of them: its name and value."""
    values = [v for arm in arms for v in (*arm.seeds, *_ends(arm))]
    scale = svg.scale([*values, *([reference[1]] if reference else [])], 14, width - 14, pad=0.08)
    bottom = 22 + ROW * len(arms)
    body = [_ticks(scale, metric, bottom)]
    if reference:
        at = scale(reference[1])
        end = at > width / 2
        rows = [22 + ROW * row for row in range(len(arms))]
        body += [svg.line(at, y + 22, at, y + 46, stroke="var(--c4)", stroke_width=2) for y in rows]
        body.append(svg.line(at, 15, at, 20, stroke="var(--c4)", stroke_width=2))
        body.append(svg.label(at, 11, reference[0], size=11, anchor="end" if end else "start", cls="soft"))
    body += [_arm(arm, 22 + ROW * row, scale, metric, width) for row, arm in enumerate(arms)]
    return svg.document(width, bottom + 22, "".join(body), title=f"test {metric} of the model and its baselines")


def _ends(arm: Arm) -> tuple[float, ...]:
    if arm.mean is None:
        return ()
    return (arm.mean - (arm.deviation or 0.0), arm.mean + (arm.deviation or 0.0))


def _ticks(scale: svg.Scale, metric: str, bottom: float) -> str:
    body = []
    for value in scale.ticks(max(4, int((scale.stop - scale.start) / 90))):
        at = scale(value)
        body.append(svg.line(at, 22, at, bottom, class_="grid"))
        words = short(100 * value) + " %" if is_share(metric) else short(value)
        half = svg.text_width(words, 11) / 2
        if at - half > 0 and at + half < scale.stop + 14:
            body.append(svg.label(at, bottom + 16, words, size=11, anchor="middle", cls="soft"))
    return "".join(body)


def _arm(arm: Arm, top: float, scale: svg.Scale, metric: str, width: float) -> str:
    paint = "var(--c0)" if arm.ours else "var(--c1)" if arm.wins else "var(--soft)"
    figure = spread(arm.mean, arm.deviation, metric)
    room = width - 28 - svg.text_width(figure, 12) - 12
    cost = f"  {arm.cost}" if arm.cost and svg.text_width(arm.name + arm.cost) + 20 < room else ""
    name = svg.clip(arm.name, room)
    head = svg.tag("tspan", svg.esc(name), class_="strong") + svg.tag("tspan", svg.esc(cost), dx=8.0, class_="soft")
    body = [svg.tag("text", head, x=14.0, y=top + 15, font_size=12.0)]
    body.append(svg.label(width - 14, top + 15, figure, anchor="end", cls="strong"))
    y = top + 34
    body.append(svg.line(scale.start, y, scale.stop, y, class_="grid"))
    if ends := _ends(arm):
        low, high = scale(ends[0]), scale(ends[1])
        body.append(svg.tag("rect", x=low, y=y - 7, width=max(1.0, high - low), height=14.0, rx=3.0, fill=paint,
                            fill_opacity=0.18))  # fmt: skip
    for seed, value in enumerate(arm.seeds):
        words = svg.tip(f"{arm.name}, run {seed + 1}: {score(value, metric, places=2)}")
        body.append(svg.tag("circle", words, cx=scale(value), cy=y, r=4.0, fill=paint, fill_opacity=0.75))
    if arm.mean is not None:
        at = scale(arm.mean)
        body.append(svg.line(at, y - 10, at, y + 10, stroke=paint, stroke_width=2.5))
    return svg.tag("g", "".join(body))


@dataclass(frozen=True, slots=True)
class Share:
    """A piece of a stacked bar: whose it is, how much, how that reads, and its series colour."""

    name: str
    value: float
    words: str
    series: int


def stacked(rows: Sequence[tuple[str, Sequence[Share]]], width: float) -> str:
    """One full-width bar per row (FLOPs, seconds), its pieces in proportion and labelled where they fit."""
    body = []
    for row, (name, shares) in enumerate(rows):
        top = row * 62.0
        total = sum(s.value for s in shares) or 1.0
        body.append(svg.label(0, top + 13, name, cls="strong"))
        left = 0.0
        for share in shares:
            wide = share.value / total * width
            body.append(_piece(share, left, top + 20, wide, share.value / total))
            left += wide
    return svg.document(width, 62.0 * len(rows) - 6, "".join(body), title="where the compute went, by phase")


def _piece(share: Share, left: float, top: float, wide: float, part: float) -> str:
    words = svg.tip(f"{share.name}: {share.words} ({100 * part:.1f} %)")
    rect = svg.tag(
        "rect", x=left, y=top, width=max(0.0, wide - 1.5), height=32.0, rx=2.0, fill=svg.colour(share.series)
    )
    name = f"{share.name} {100 * part:.0f} %"
    shown = name if svg.text_width(name, 11) + 12 < wide else f"{100 * part:.0f} %"
    text = ""
    if svg.text_width(shown, 11) + 8 < wide:
        text = svg.label(left + (wide - 1.5) / 2, top + 20, shown, size=11, anchor="middle", cls="badge")
    return svg.tag("g", words + rect + text)
