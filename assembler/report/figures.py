"""The six figures of a report. Each function returns a drawing with its caption, or one line on what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from assembler.report import bars, plots, tables
from assembler.report.data import Candidate, Point, Run, items, number, numbers, text
from assembler.report.draw import Style, draw_graph
from assembler.report.numbers import TIMES, count, plural, score, seconds, short, spearman
from assembler.report.svg import SERIES, clip, colour, esc

WIDE, NARROW = 1032.0, 346.0
MOST_CHARTED = 12
MOST_GREY = 60


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure's markup and its caption (markup as well). With `missing`, one line stands for both."""

    body: str = ""
    caption: str = ""
    missing: str = ""


def both(draw: Callable[[float], str]) -> str:
    """The drawing at two widths; the style sheet shows the one that fits."""
    return f'<div class="wide">{draw(WIDE)}</div><div class="narrow">{draw(NARROW)}</div>'


def graph(run: Run) -> Figure:
    """The winner's graph."""
    if run.graph is None:
        return Figure(missing="The winner's graph is not in the run folder (graph.txt).")
    model, slots = run.graph, {text(s.get("name")): "" for s in items(run.summary.get("slots"))}
    style = Style({**slots, **run.choice})
    body = f'<div class="graph scroll">{both(lambda width: draw_graph(model, width=width, style=style))}</div>'
    words = f"The winner: {plural(len(model), 'step')}, read from top to bottom"
    words += ", columns from left to right" if len(model) > 8 else ""
    words += ". Slots are tinted and carry the chosen variant. " if style.slots else ". "
    words += (
        f"A line that runs past a box is a skip. Equal repeats are drawn once ({TIMES}n), crowded parts are closed."
    )
    return Figure(body, esc(words))


def parts(run: Run) -> Figure:
    """Every part that was trained, with its scores."""
    if not run.parts:
        return Figure(missing="No parts were trained in this run (parts.jsonl is missing or empty).")
    failed = sum(p.failed for p in run.parts)
    words = "Each variant of each slot, swapped into the host model: the stronger the tint, the better. "
    words += "A dot marks the variant in the winner. "
    words += f"{plural(failed, 'part')} failed; the reasons stand below the tables." if failed else "None failed."
    return Figure(tables.parts(run), esc(words))


def candidates(run: Run) -> Figure:
    """Candidates over cost, and the estimate against the score."""
    scored = [c for c in run.candidates if c.score is not None]
    if not scored:
        return Figure(missing="No candidate was scored in this run (candidates.jsonl is missing or empty).")
    budget = run.section("search", "budget")
    axis = "flops" if number(budget.get("params")) is None and number(budget.get("flops")) is not None else "params"
    dots = [d for c in scored if (d := _dot(run, c, axis))]
    if not dots:
        return Figure(missing="The candidates carry no cost, so there is nothing to draw them over.")
    cost = plots.Cost("parameters" if axis == "params" else "FLOPs", number(budget.get(axis)))
    body = both(lambda width: plots.candidates(dots, cost, run.metric, width))
    body += _legend(dots)
    words = f"{plural(len(dots), 'candidate')} by validation {run.metric} and {cost.name}, put together "
    words += "from trained parts, not tuned. The stairs are the Pareto front of those within the budget."
    if len(dots) > plots.MOST_DOTS:
        words += f" {plots.MOST_DOTS:,} of them are drawn, evenly picked, the front and the winner always."
    if unscored := len(run.candidates) - len(scored):
        words += f" {unscored:,} more were only estimated and are not drawn."
    return Figure(body + _estimates(run, scored), esc(words))


def _legend(dots: list[plots.Dot]) -> str:
    entries = {"within the budget": colour(0), "Pareto front": colour(2)}
    if any(not d.feasible for d in dots):
        entries["over the budget"] = "var(--line)"
    if any(d.winner for d in dots):
        entries["winner"] = colour(1)
    return f"<div>{plots.legend(entries)}</div>"


def _dot(run: Run, c: Candidate, axis: str) -> plots.Dot | None:
    cost = c.params if axis == "params" else c.flops
    if cost is None or c.score is None:
        return None
    choice = ", ".join(f"{slot} = {label}" for slot, label in list(c.choice.items())[:MOST_CHARTED])
    words = f"{choice}; seed {c.seed}; {count(cost)} {axis}; {score(c.score, run.metric)}"
    return plots.Dot(cost, c.score, words + (f"; {c.reason}" if c.reason else ""), c.feasible,
                     bool(c.choice) and dict(c.choice) == run.choice)  # fmt: skip


def _estimates(run: Run, scored: list[Candidate]) -> str:
    """The plot of estimates against scores, with their rank correlation in words beside it."""
    by_seed: dict[int, list[tuple[float, float]]] = {}
    dots = []
    for c in scored:
        if c.estimate is not None and c.score is not None:
            by_seed.setdefault(c.seed, []).append((-c.estimate, c.score))
            words = f"seed {c.seed}; estimate {short(c.estimate)}; {score(c.score, run.metric)}"
            dots.append(plots.Dot(c.estimate, c.score, words, c.feasible))
    found = [r for pairs in by_seed.values() if (r := spearman(pairs)) is not None]
    if not found:
        return ""
    mean = sum(found) / len(found)
    extent = f" ({min(found):.2f} to {max(found):.2f} over seeds)" if len(found) > 1 else ""
    said = f"The sum of the parts' losses ranks the assemblies with Spearman {mean:.2f}{extent}"
    words = f"{said}, over {plural(len(dots), 'candidate')} that were both estimated and scored."
    plot = plots.estimates(dots, run.metric, NARROW)
    head = "<h3>Does the estimate foretell the score?</h3>"
    return f'<div class="panels beside"><div>{head}{plot}</div><p class="aside">{esc(words)}</p></div>'


def curves(run: Run) -> Figure:
    """Training curves, a panel per phase."""
    if not run.points:
        return Figure(missing="No training curve was logged in this run (metrics.jsonl is missing or empty).")
    phases: dict[str, list[Point]] = {}
    for point in run.points:
        phases.setdefault(point.phase, []).append(point)
    shown = list(phases)[:MOST_CHARTED]
    body = "".join(_panel(run, phase, phases[phase]) for phase in shown)
    words = "Validation over epochs, or the loss where nothing was validated. "
    words += "Every seed is a thin line, their mean is bold."
    if any(len({p.label for p in points}) > SERIES + MOST_GREY for points in phases.values()):
        words += f" The best labels are in colour, {MOST_GREY} others in grey, the rest is not drawn."
    if len(phases) > len(shown):
        words += f" {len(phases) - len(shown)} more phases are in metrics.jsonl."
    return Figure(f'<div class="panels">{body}</div>', esc(words))


def _panel(run: Run, phase: str, points: list[Point]) -> str:
    validated = any(p.validation is not None for p in points)
    labels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for p in points:
        value = p.validation if validated else p.loss
        if value is not None:
            labels.setdefault(p.label, {}).setdefault(p.task, []).append((p.epoch, value))
    runs = {label: [sorted(r) for r in tasks.values()] for label, tasks in labels.items()}
    final = {label: sum(r[-1][1] for r in found) / len(found) for label, found in runs.items()}
    ranked = sorted(final, key=lambda label: final[label], reverse=validated)
    coloured = {label: at for at, label in enumerate(ranked[: SERIES - 1 if len(ranked) > SERIES else SERIES])}
    grey = [label for label in ranked if label not in coloured][:MOST_GREY]
    lines = [plots.Line(label, runs[label], coloured.get(label)) for label in [*grey, *coloured]]
    kind, form = (run.metric, plots.value_format(run.metric)) if validated else ("loss", short)
    drawing = plots.curves(lines, kind, form, title=f"training curves of phase {phase}")
    entries = {clip(label, 250, 13): colour(at) for label, at in coloured.items()}
    if len(ranked) > len(coloured):
        entries[f"{len(ranked) - len(coloured)} others"] = "var(--line)"
    keys = plots.legend(entries) if len(ranked) > 1 or ranked != [phase] else ""
    return f"<div><h3>{esc(phase)}</h3>{drawing}<div>{keys}</div></div>"


def comparison(run: Run) -> Figure:
    """The model against its baselines on the test split."""
    baselines, result = items(run.summary.get("baselines"))[:MOST_CHARTED], run.section("result")
    if not baselines or tables.mean_of(result, "test") is None:
        return Figure(missing="No comparison was made in this run (summary.json names no baselines).")
    whole = f"{count(run.path_flops)} FLOPs on the whole path"
    arms = [bars.Arm(run.made[0], tables.mean_of(result, "test"), tables.deviation_of(result),
                     numbers(result.get("test_per_seed")), whole, ours=True)]  # fmt: skip
    for b in baselines:
        cost = number(b.get("train_flops"))
        arms.append(bars.Arm(text(b.get("name")), tables.mean_of(b, "test_mean"), tables.deviation_of(b),
                             numbers(b.get("test_per_seed")), f"{count(cost)} FLOPs" if cost is not None else "",
                             wins=b.get("wins") is True))  # fmt: skip
    teacher = number(run.teacher.get("test"))
    reference = ("teacher", teacher) if teacher is not None else None
    body = both(lambda width: bars.comparison(arms, run.metric, width, reference))
    words = f"Test {run.metric}, read once at the end. "
    words += "Every seed is a dot, the mark is the mean, the band one standard deviation."
    cls = "warn strong" if any(a.wins for a in arms) else "strong"
    return Figure(f'<p class="{cls}">{esc(outcome(arms))}</p>{body}{tables.comparison(run)}', esc(words))


def outcome(arms: list[bars.Arm]) -> str:
    """Who wins, in words."""
    names = [f"“{a.name}”" for a in arms if a.wins]
    if not names:
        return "No baseline wins."
    if len(names) == 1:
        return f"A baseline wins: {names[0]} does better than the assembled model."
    return f"Baselines win: {', '.join(names[:-1])} and {names[-1]} do better than the assembled model."


def compute(run: Run) -> Figure:
    """FLOPs and seconds by phase."""
    series = {phase: at for at, phase in enumerate(run.phases)}
    rows = []
    for title, source, form in (
        ("training FLOPs", run.section("cost", "train_flops"), count), ("time", run.section("time"), seconds),
    ):  # fmt: skip
        values = {str(k): v for k, raw in source.items() if (v := number(raw)) is not None and v > 0}
        shares = [bars.Share(k, values[k], form(values[k]), at) for k, at in series.items() if k in values]
        if shares:
            rows.append((f"{title}: {form(sum(values.values()))}", shares))
    if not rows:
        return Figure(missing="Where the compute went was not recorded (summary.json has neither cost nor time).")
    body = both(lambda width: bars.stacked(rows, width))
    shown = {phase: colour(at) for phase, at in series.items()}
    return Figure(f"{body}<p></p><div>{plots.legend(shown)}</div>", "Training FLOPs and wall time of every phase.")
