"""Scatter plots and curves: candidates over cost, estimate against score, training curves. Each returns one `<svg>`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from assembler.report import svg
from assembler.report.numbers import count, front, is_share, short, thin

MOST_DOTS = 1200
Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Frame:
    """A plot's scales, axis titles and how its ticks read. y runs upwards: its scale starts at the bottom."""

    x: svg.Scale
    y: svg.Scale
    x_title: str
    y_title: str
    x_format: Format = short
    y_format: Format = short

    def axes(self) -> str:
        """Grid lines, tick labels and axis titles."""
        left, right, bottom, top = self.x.start, self.x.stop, self.y.start, self.y.stop
        body = []
        for value in self.y.ticks(5):
            at = self.y(value)
            body.append(svg.line(left, at, right, at, class_="grid"))
            body.append(svg.label(left - 6, at + 4, self.y_format(value), size=11, anchor="end", cls="soft"))
        edge = -1e9
        for value in self.x.ticks(max(4, int((right - left) / 70))):
            at, words = self.x(value), self.x_format(value)
            half = svg.text_width(words, 11) / 2
            body.append(svg.line(at, bottom, at, bottom + 4, class_="axis"))
            if at - half > edge and at + half < right + 14:
                body.append(svg.label(at, bottom + 17, words, size=11, anchor="middle", cls="soft"))
                edge = at + half + 6
        body.append(svg.line(left, bottom, right, bottom, class_="axis"))
        body.append(svg.label(right, bottom + 34, self.x_title, size=11, anchor="end", cls="soft"))
        body.append(svg.label(left - 6, top - 10, self.y_title, size=11, anchor="start", cls="soft", dx=-30))
        return "".join(body)


@dataclass(frozen=True, slots=True)
class Dot:
    """One mark of a scatter plot: where, what hovering says, and what it stands for."""

    x: float
    y: float
    words: str
    feasible: bool = True
    winner: bool = False


def value_format(metric: str) -> Format:
    """How values of the metric read on an axis; shares in per cent."""
    return (lambda v: short(100 * v) + " %") if is_share(metric) else short


@dataclass(frozen=True, slots=True)
class Cost:
    """The x axis of the candidates: its name, and the budget where there is one."""

    name: str = "params"
    budget: float | None = None


def candidates(dots: Sequence[Dot], cost: Cost, metric: str, width: float) -> str:
    """Score over cost: Pareto front of the feasible dots, the budget, infeasible ones in grey, the winner ringed."""
    height = min(380.0, max(260.0, width * 0.5))
    costs = [d.x for d in dots] + ([cost.budget] if cost.budget else [])
    frame = Frame(
        svg.log_scale(costs, 58, width - 16), svg.scale([d.y for d in dots], height - 44, 28), cost.name,
        f"validation {metric}", count, value_format(metric),
    )  # fmt: skip
    best = _front_of(dots)
    body = [frame.axes(), _budget(frame, cost), _steps(frame, [dots[i] for i in best], cost.budget)]
    keep = [*best, *(i for i, d in enumerate(dots) if d.winner)]
    drawn = [dots[i] for i in thin(len(dots), MOST_DOTS, keep)]
    on_front = {id(dots[i]) for i in best}
    drawn.sort(key=lambda d: (d.feasible, id(d) in on_front, d.winner))
    body += [_mark(frame, d, id(d) in on_front) for d in drawn]
    body.append(_winner_label(frame, [d for d in drawn if d.winner]))
    return svg.document(width, height, "".join(body), title=f"validation {metric} of candidates over {cost.name}")


def _front_of(dots: Sequence[Dot]) -> list[int]:
    feasible = [i for i, d in enumerate(dots) if d.feasible]
    return [feasible[i] for i in front([(dots[i].x, dots[i].y) for i in feasible])]


def _budget(frame: Frame, cost: Cost) -> str:
    if not cost.budget:
        return ""
    at = frame.x(cost.budget)
    words = f"budget {count(cost.budget)}"
    left = at - svg.text_width(words, 11) - 8 > frame.x.start
    name = svg.label(
        at - 5 if left else at + 5, frame.y.start - 6, words, size=11, anchor="end" if left else "start", cls="halo"
    )
    return svg.line(at, frame.y.stop - 4, at, frame.y.start, stroke="var(--c1)", stroke_dasharray="5 4") + name


def _steps(frame: Frame, dots: Sequence[Dot], budget: float | None) -> str:
    """The front as stairs: up to each cost, the best score so far."""
    points: list[tuple[float, float]] = []
    for d in dots:
        at = (frame.x(d.x), frame.y(d.y))
        if points:
            points.append((at[0], points[-1][1]))
        points.append(at)
    if points:
        points.append((max(points[-1][0], frame.x(budget) if budget else frame.x.stop), points[-1][1]))
    return svg.polyline(points, stroke="var(--c2)", stroke_width=1.6, stroke_opacity=0.8)


def _mark(frame: Frame, d: Dot, on_front: bool) -> str:
    x, y = frame.x(d.x), frame.y(d.y)
    if not d.feasible:
        look: dict[str, object] = {"r": 2.8, "fill": "none", "stroke": "var(--soft)", "stroke_opacity": 0.5}
    elif on_front:
        look = {"r": 4.2, "fill": "var(--c2)", "stroke": "var(--card)"}
    else:
        look = {"r": 3.2, "fill": "var(--c0)", "fill_opacity": 0.5}
    ring = svg.tag("circle", cx=x, cy=y, r=8.0, fill="none", stroke="var(--c1)", stroke_width=2.2) if d.winner else ""
    return svg.tag("g", ring + svg.tag("circle", svg.tip(d.words), cx=x, cy=y, **look))


def _winner_label(frame: Frame, winners: Sequence[Dot]) -> str:
    if not winners:
        return ""
    d = max(winners, key=lambda w: w.y)
    x, y = frame.x(d.x), frame.y(d.y)
    left = x > (frame.x.start + frame.x.stop) / 2
    above = y - 12 if y > frame.y.stop + 4 else y + 22
    return svg.label(x - 10 if left else x + 10, above, "winner", anchor="end" if left else "start", cls="halo strong")


@dataclass(frozen=True, slots=True)
class Titles:
    """What the axes of a plot are called, and how their ticks read."""

    x: str
    y: str
    x_format: Format = short
    y_format: Format = short


def scatter(
    dots: Sequence[Dot], marked: Collection[int], path: Sequence[tuple[float, float]], titles: Titles, width: float
) -> str:
    """Dots, those whose places are `marked` in colour, with a line along the path; winners are ringed."""
    height = min(380.0, max(240.0, width * 0.4))
    x, y = [*(d.x for d in dots), *(x for x, _ in path)], [*(d.y for d in dots), *(y for _, y in path)]
    counted = titles.x_format is count
    across = svg.log_scale(x, 58, width - 16) if counted else svg.scale(x, 58, width - 16)
    frame = Frame(across, svg.scale(y, height - 44, 28), titles.x, titles.y, titles.x_format, titles.y_format)
    points = [(frame.x(a), frame.y(b)) for a, b in path]
    body = [frame.axes(), svg.polyline(points, stroke="var(--c2)", stroke_width=1.6, stroke_opacity=0.8)]
    order = sorted(range(len(dots)), key=lambda i: (i in marked, dots[i].winner))
    body += [_mark(frame, dots[i], i in marked) for i in order]
    return svg.document(width, height, "".join(body), title=f"{titles.y} over {titles.x}")


def estimates(dots: Sequence[Dot], metric: str, width: float) -> str:
    """The additive estimate (x, lower is better) against the measured score (y)."""
    height = min(300.0, width * 0.8)
    frame = Frame(
        svg.scale([d.x for d in dots], 58, width - 16), svg.scale([d.y for d in dots], height - 44, 28),
        "additive estimate (loss)", f"measured {metric}", short, value_format(metric),
    )  # fmt: skip
    drawn = [dots[i] for i in thin(len(dots), MOST_DOTS // 2)]
    body = frame.axes() + "".join(_mark(frame, d, False) for d in drawn)
    return svg.document(width, height, body, title=f"additive estimate against measured {metric} of candidates")


@dataclass(frozen=True, slots=True)
class Line:
    """One label's curves: points (epoch, value) per seed or task, and the series colour, None for grey."""

    name: str
    runs: Sequence[Sequence[tuple[float, float]]]
    series: int | None = None


def curves(lines: Sequence[Line], y_title: str, y_format: Format, *, title: str, width: float = 340) -> str:
    """Training curves of one phase: every run thin, the mean over runs bold."""
    height = 210.0
    points = [p for one in lines for run in one.runs for p in run]
    frame = Frame(
        svg.scale([x for x, _ in points], 46, width - 12, pad=0.0), svg.scale([y for _, y in points], height - 40, 26),
        "epoch", y_title, short, y_format,
    )  # fmt: skip
    body = [frame.axes()]
    for one in sorted(lines, key=lambda one: one.series is not None):
        stroke = "var(--line)" if one.series is None else svg.colour(one.series)
        name = svg.tip(one.name)
        runs = [one.runs[i] for i in thin(len(one.runs), 8)] if len(one.runs) > 1 else []
        body += [_curve(frame, run, stroke, 1.0, 0.45, name) for run in runs]
        body.append(_curve(frame, mean_curve(one.runs), stroke, 1.2 if one.series is None else 2.2, 1.0, name))
    return svg.document(width, height, "".join(body), title=title)


def _curve(
    frame: Frame, run: Sequence[tuple[float, float]], stroke: str, weight: float, opacity: float, name: str
) -> str:
    points = [(frame.x(run[i][0]), frame.y(run[i][1])) for i in thin(len(run), 160)]
    if len(points) == 1:
        return svg.tag("circle", name, cx=points[0][0], cy=points[0][1], r=weight + 1.2, fill=stroke, opacity=opacity)
    path = "M" + "L".join(f"{svg.num(x)} {svg.num(y)}" for x, y in points)
    return svg.tag("path", name, d=path, fill="none", stroke=stroke, stroke_width=weight, stroke_opacity=opacity,
                   stroke_linejoin="round")  # fmt: skip


def mean_curve(runs: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The mean over runs at every epoch that at least half of them reached."""
    found: dict[float, list[float]] = {}
    for run in runs:
        for x, y in run:
            found.setdefault(x, []).append(y)
    return [(x, sum(ys) / len(ys)) for x, ys in sorted(found.items()) if 2 * len(ys) >= len(runs)]


def legend(entries: Mapping[str, str]) -> str:
    """A legend as HTML: name to CSS colour."""
    return "".join(
        f'<span class="key"><i style="background:{paint}"></i>{svg.esc(name)}</span>' for name, paint in entries.items()
    )
