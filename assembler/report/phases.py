"""What happened in a run, phase by phase, in words and figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from assembler.report.data import Run, items, number, text, whole
from assembler.report.numbers import count, plural, score, seconds

DID = {
    "meta": "Trained the shallow meta model",
    "teacher": "Trained the teacher",
    "train": "Trained the model",
    "incubate": "Trained the variants of each slot, each inside the frozen host",
    "search": "Searched assemblies of trained parts under the budget, without training any",
    "assemble": "Put the winner together and tuned it",
    "compare": "Trained the baselines",
    "export": "Wrote the model as weights, source and exported program",
    "distil": "Distilled the student from the teacher",
}  # fmt: skip

UNITS = {"params": "parameters", "flops": "FLOPs", "memory": "bytes of values", "latency": "ms"}
"""What budgets are counted in."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase: its seconds and training FLOPs, and sentences on what it did and found."""

    name: str
    seconds: float | None
    flops: float | None
    did: str
    found: str


def phases(run: Run) -> list[Phase]:
    """The phases of a run in order."""
    timed, counted = run.section("time"), run.section("cost", "train_flops")
    found = []
    for name in run.phases:
        words = FOUND[name](run) if name in FOUND else ""
        did = DID.get(name, "")
        if name == "search" and run.section("search").get("mode", "parts") != "parts":
            did = "Searched by training candidates"
        found.append(Phase(name, number(timed.get(name)), number(counted.get(name)), did, words))
    return found


def _model(name: str) -> Callable[[Run], str]:
    def found(run: Run) -> str:
        model = run.section("models", name)
        said = []
        for split in ("validation", "test"):
            if (value := number(model.get(split))) is not None:
                metric = text(model.get("metric")) or run.metric
                said.append(f"{split} {metric} {score(value, metric)}")
        if (params := number(model.get("params"))) is not None:
            said.append(f"{count(params)} parameters")
        return ", ".join(said)

    return found


def _incubate(run: Run) -> str:
    failed = sum(p.failed for p in run.parts)
    slots, seeds = len({p.slot for p in run.parts}), len({p.seed for p in run.parts})
    if not run.parts:
        return ""
    host = text(run.summary.get("host"))
    words = f"host {host}, " if host else ""
    words += f"{plural(len(run.parts), 'part')} for {plural(slots, 'slot')} under {plural(seeds, 'seed')}"
    return f"{words}, {failed} failed" if failed else f"{words}, none failed"


def _search(run: Run) -> str:
    search = run.section("search")
    said = []
    if evaluated := whole(search.get("evaluated")):
        size = number(search.get("space_size"))
        of = f" of {int(size):,} possible" if size is not None and size < 1e9 else f" of {count(size)}" if size else ""
        assemblies = plural(evaluated, "assembly").replace("assemblys", "assemblies") + " scored"
        mode = text(search.get("mode")) or "parts"
        said.append((assemblies if mode == "parts" else f"{plural(evaluated, 'trial')} ({mode})") + of)
    if sampler := text(search.get("sampler")):
        said.append(f"sampler {sampler}")
    budget = search.get("budget")
    if isinstance(budget, dict):
        held = search.get("binding") or {}
        said += [
            f"at most {count(value)} {UNITS.get(name, name)}{' (which binds)' * (name in held)}"
            for name, v in budget.items()
            if (value := number(v)) is not None
        ]
    return ", ".join(said)


def _assemble(run: Run) -> str:
    result = run.section("result")
    before, after = number(result.get("before_tuning")), number(result.get("validation"))
    if before is None or after is None:
        return ""
    return f"validation {run.metric} {score(before, run.metric)} before tuning, {score(after, run.metric)} after"


def _compare(run: Run) -> str:
    baselines = items(run.summary.get("baselines"))
    wins = [text(b.get("name")) for b in baselines if b.get("wins") is True]
    if not baselines:
        return ""
    return f"a baseline wins: {', '.join(wins)}" if wins else f"none of {plural(len(baselines), 'baseline')} wins"


FOUND: dict[str, Callable[[Run], str]] = {
    "meta": _model("meta"), "teacher": _model("teacher"), "incubate": _incubate, "search": _search,
    "assemble": _assemble, "compare": _compare,
}  # fmt: skip


def timeline(run: Run) -> str:
    """The phases as an HTML list, with a bar for each one's share of the time."""
    from assembler.report.svg import esc

    found = phases(run)
    longest = max((p.seconds or 0.0 for p in found), default=0.0) or 1.0
    lines = []
    for p in found:
        bar = f'<div class="bar"><i style="width:{100 * (p.seconds or 0.0) / longest:.1f}%"></i></div>'
        said = ". ".join(filter(None, (p.did, p.found[:1].upper() + p.found[1:])))
        cost = f"{seconds(p.seconds)}" + (f" · {count(p.flops)} FLOPs" if p.flops else "")
        lines.append(f'<li><div class="row"><b>{esc(p.name)}</b><span class="soft">{esc(cost)}</span></div>{bar}'
                     f"<p>{esc(said)}{'.' if said else ''}</p></li>")  # fmt: skip
    return f'<ol class="timeline">{"".join(lines)}</ol>'
