"""The files of a search: a row for each candidate, the recipe of the best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from assembler.pipeline.exporting import write_text
from assembler.pipeline.search.candidates import recipe_of
from assembler.recipe.document import Document
from assembler.recipe.write import to_yaml
from assembler.search.study import Study, Trial

CANDIDATES = "candidates.jsonl"


def write_search(folder: Path, document: Document, study: Study) -> None:
    """Write every candidate to candidates.jsonl, and the recipe with the best one's choices made to best.yaml."""
    rows = [row_of(trial) for trial in study.trials]
    write_text(folder / CANDIDATES, "".join(json.dumps(row) + "\n" for row in rows))
    if best := study.best:
        text = best.recipe or to_yaml(recipe_of(document.model, best.choice, document.name))
        write_text(folder / "best.yaml", text)


def row_of(trial: Trial) -> dict[str, Any]:
    """A trial as a row of candidates.jsonl."""
    return {
        "number": trial.number,
        "parent": trial.parent,
        "choice": trial.labels,
        "params": trial.costs.get("params"),
        "flops": trial.costs.get("flops"),
        "estimate": trial.estimate,
        "score": trial.value,
        "values": list(trial.values or ()),
        "feasible": trial.state != "infeasible",
        "state": trial.state,
        "reason": trial.reason,
        "curve": [[step, *values] for step, values in trial.curve],
    }
