"""The page of a search by trials: the front, its history, which decisions matter, where the best trial came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from assembler.report import plots, svg, tables
from assembler.report.data import Candidate, Run, items, number, numbers, text, whole
from assembler.report.figures import Figure, both
from assembler.report.numbers import count, is_share, plural, short, thin
from assembler.report.svg import esc

_MOST = 24
_FEW = 5  # trials a decision, below which shares are mostly chance


def goals(run: Run) -> dict[str, str]:
    """The objectives, each with what is to become of it."""
    return {str(name): text(goal) for name, goal in run.section("study", "goals").items()} or {"value": "maximize"}


def happened(run: Run, title: str = "What happened") -> str:
    """How the trials ended, with reasons."""
    study = run.section("study")
    size = number(study.get("log10_size"))
    of = "countless" if size is None else f"{round(10**size):,}" if size < 9 else f"10^{size:.0f}"
    said = f"{plural(whole(study.get('evaluated')), 'trial')} of {of} candidates were evaluated; the search ended: "
    states = ", ".join(f"{whole(n):,} {esc(state)}" for state, n in run.section("study", "states").items())
    lines = [
        f"<li><b>{esc(text(one.get('state')))}</b>, {plural(whole(one.get('times')), 'time')}: "
        f"{esc(text(one.get('reason')))}</li>"
        for one in items(study.get("reasons"))
    ]
    why = f'<ul class="bad">{"".join(lines)}</ul>' if lines else ""
    return (
        f"<section><h2>{esc(title)}</h2><p>{esc(said + text(study.get('stopped')))}.</p><p>{states}</p>{why}</section>"
    )


def front(run: Run) -> Figure:
    """Trials by the first objective over the second one, or over parameters."""
    names = list(goals(run))
    across = names[1] if len(names) > 1 else "params"
    found = {c.number: at for c in run.candidates if (at := _point(c, len(names) > 1))}
    if not found:
        return Figure(missing="No trial has values and costs to draw (candidates.jsonl is missing or empty).")
    study = run.section("study")
    best, front_ = study.get("best"), [whole(n) for n in numbers(study.get("front"))]
    every = list(found)
    shown = [every[i] for i in thin(len(every), plots.MOST_DOTS, [i for i, n in enumerate(every) if n in front_])]
    by_number = {c.number: c for c in run.candidates}
    dots = [plots.Dot(*found[n], _words(names, by_number[n]), winner=n == best) for n in shown]
    marked = {i for i, n in enumerate(shown) if n in front_}
    path = sorted(found[n] for n in front_ if n in found)
    titles = plots.Titles(across, names[0], _form(across) if is_share(across) else count, _form(names[0]))
    body = both(lambda width: plots.scatter(dots, marked, path, titles, width))
    entries = {"trial": svg.colour(0), "front": svg.colour(2), "best": svg.colour(1)}
    words = (
        f"{plural(len(found), 'trial')} by {names[0]} and {across}; the line joins those that no other beats in both."
    )
    return Figure(f"{body}<div>{plots.legend(entries)}</div>", esc(words))


def _point(c: Candidate, several: bool) -> tuple[float, float] | None:
    x = (c.values[1] if len(c.values) > 1 else None) if several else c.params
    return None if x is None or c.first is None else (x, c.first)


def _words(names: Sequence[str], c: Candidate) -> str:
    """What hovering over a trial says."""
    values = [f"{name} {_form(name)(v)}" for name, v in zip(names, c.values, strict=False)]
    costs = [f"{count(v)} {name}" for name, v in (("params", c.params), ("FLOPs", c.flops)) if v is not None]
    choice = ", ".join(f"{name} = {label}" for name, label in list(c.choice.items())[:_MOST])
    return "; ".join([f"trial {c.number}", *values, *costs, choice])


def _form(name: str) -> plots.Format:
    return plots.value_format(name)


def history(run: Run) -> Figure:
    """The first objective trial by trial, and the best so far."""
    (name, goal), *_ = goals(run).items()
    points = sorted((float(c.number), c.first) for c in run.candidates if c.first is not None)
    if not points:
        return Figure(missing="No trial has a value (candidates.jsonl).")
    better: Callable[..., float] = max if goal == "maximize" else min
    so_far, stairs = points[0][1], list[tuple[float, float]]()
    for at, value in points:
        stairs.append((at, so_far))
        so_far = better(so_far, value)
        stairs.append((at, so_far))
    dots = [plots.Dot(at, value, f"trial {at:g}; {_form(name)(value)}") for at, value in points]
    drawn = [dots[i] for i in thin(len(dots), plots.MOST_DOTS)]
    titles = plots.Titles("trial", name, short, _form(name))
    body = both(lambda width: plots.scatter(drawn, (), stairs, titles, width))
    return Figure(body, esc(f"{name} of every trial in the order in which they began; the line is the best so far."))


def importance(run: Run) -> Figure:
    """The share of the variance that each decision explains."""
    shares = {str(k): v for k, raw in run.section("study", "importance").items() if (v := number(raw)) is not None}
    if not shares:
        return Figure(missing="Too few trials differ to tell which decisions matter.")
    rows = []
    for name, share in list(shares.items())[:_MOST]:
        bar = f'<td style="width:50%"><div class="bar"><i style="width:{100 * min(1.0, share):.1f}%"></i></div></td>'
        rows.append([tables.cell(name), bar, tables.cell(f"{100 * share:.0f} %")])
    done = sum(c.first is not None for c in run.candidates)
    words = f"The share of the variance of {next(iter(goals(run)))} over {plural(done, 'trial')} that each decision "
    words += "explains on its own, adjusted for the number of its candidates: 0 where it says nothing. What decisions "
    words += "do together is left out, and a sampler looks where it is good, so it is no cause."
    if done < _FEW * len(shares):
        words += f" {plural(done, 'trial')} for {plural(len(shares), 'decision')} are few: chance explains much of it."
    if len(shares) > _MOST:
        words += f" {len(shares) - _MOST} more decisions explain less."
    return Figure(tables.table(["decision", "", "explains"], rows, cls="figures"), esc(words))


def lineage(run: Run) -> Figure:
    """The chain of edits that leads to the best trial."""
    chain = items(run.section("study").get("lineage"))
    if not chain:
        return Figure(missing="No trial is complete.")
    names = list(goals(run))
    costs = [] if "params" in names else ["params"]
    rows = [[tables.cell("all first candidates"), tables.cell("seed"), *[tables.cell("")] * len([*names, *costs])]]
    for link in chain:
        edits = [text(e) for e in link.get("edits", [])] if isinstance(link.get("edits"), list) else []
        values = numbers(link.get("values"))
        shown = [_form(n)(values[i]) if i < len(values) else text(link.get("state")) for i, n in enumerate(names)]
        figures = [text(link.get("trial")), *shown, *(count(number(link.get(cost))) for cost in costs)]
        rows.append([f"<td>{'<br>'.join(map(esc, edits)) or 'nothing'}</td>", *map(tables.cell, figures)])
    words = "The edits that led to the best trial from the recipe with all first candidates, parent by parent where "
    words += "the sampler made a trial from another one."
    return Figure(tables.table(["edit", "trial", *map(esc, names), *costs], rows, cls="figures"), esc(words))


SECTIONS: tuple[tuple[str, str, Callable[[Run], Figure]], ...] = (
    ("front", "The front", front),
    ("history", "The search over time", history),
    ("importance", "Which decisions matter", importance),
    ("lineage", "Where the best came from", lineage),
)
