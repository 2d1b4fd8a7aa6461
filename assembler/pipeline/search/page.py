"""What a search leaves for its report: how trials ended, the front, which decisions matter, where the best is from."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from assembler.pipeline.exporting import write_text
from assembler.pipeline.search.settings import Settings
from assembler.recipe.choices import Space, space
from assembler.recipe.document import Document
from assembler.recipe.values import plain
from assembler.report.html import write_report
from assembler.report.numbers import result
from assembler.search.importance import importance
from assembler.search.lineage import lineage
from assembler.search.pareto import Direction, front
from assembler.search.study import Study

_REASONS = 12


def write_page(folder: Path, document: Document, how: Settings, study: Study) -> Path:
    """Write summary.json and report.html beside what the search has written; returns the report."""
    write_text(folder / "summary.json", json.dumps(summary(document, how, study), indent=1) + "\n")
    return write_report(folder)


def summary(document: Document, how: Settings, study: Study) -> dict[str, Any]:
    """What the report says beside the trials themselves, as plain data."""
    best, goals = study.best, list(how.goals)
    found: dict[str, Any] = {"recipe": document.name, "verdict": _verdict(study, goals)}
    if doc := document.tree.get("doc"):
        found["doc"] = plain(doc)
    if best:
        found["result"] = {"metric": goals[0], "choice": best.labels, **best.costs}
    found["study"] = study_data(space(document.model), how, study)
    return found


def study_data(found: Space, how: Settings, study: Study) -> dict[str, Any]:
    """What the page of a search is drawn from beside the trials themselves; `found` are the decisions."""
    reasons = Counter((t.state, t.reason) for t in study.trials if t.reason and t.state != "duplicate")
    return {
        "goals": how.goals,
        "budget": how.budget or {},
        "sampler": how.sampler,
        "log10_size": None if study.space_size is None else math.log10(max(1, study.space_size)),
        "evaluated": study.evaluated,
        "stopped": study.stopped,
        "states": dict(Counter(t.state for t in study.trials)),
        "reasons": [{"state": s, "reason": r, "times": n} for (s, r), n in reasons.most_common(_REASONS)],
        "best": study.best.number if study.best else None,
        "front": _front(how, study),
        "importance": importance(study.trials),
        "lineage": _lineage(found, study),
    }


def _verdict(study: Study, goals: list[str]) -> str:
    if study.best is None:
        return f"None of {len(study.trials):,} trials was finished."
    values = ", ".join(f"{name} {result(v)}" for name, v in zip(goals, study.best.values or (), strict=False))
    said = f"The best of {study.evaluated:,} trials is number {study.best.number}: {values}."
    return said if study.final is None else f"{said} Trained as the recipe says, its validation is {study.final:.4f}."


def _front(how: Settings, study: Study) -> list[int]:
    """The trials that no other dominates; of one objective, in it and the number of parameters together."""
    if len(how.goals) > 1:
        return [t.number for t in study.front]
    done = [t for t in study.trials if t.state == "complete" and t.values and "params" in t.costs]
    directions: list[Direction] = [*how.goals.values(), "minimize"]
    return [done[i].number for i in front([((t.value or 0.0), t.costs["params"]) for t in done], directions)]


def _lineage(found: Space, study: Study) -> list[dict[str, Any]]:
    if study.best is None:
        return []
    chain = lineage(study.trials, study.best, found.named(found.first))
    return [
        {"trial": link.trial.number, "edits": [*map(str, link.edits), *link.notes],
         "values": list(link.trial.values or ()), "state": link.trial.state, "params": link.trial.costs.get("params")}
        for link in chain
    ]  # fmt: skip
