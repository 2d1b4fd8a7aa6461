"""Writes the folder of a search by trials: forty trials of evolution, some of them infeasible, some failed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

GAIN = {"pool": 0.2, "dwconv": 0.3, "attention <b>": 0.1}


def trials(count: int = 40) -> list[dict[str, Any]]:
    """What candidates.jsonl holds."""
    rng, rows = random.Random(3), []
    for number in range(count):
        choice = {"stage.block.mixer": rng.choice(list(GAIN)), "vars.dim": str(rng.choice((8, 16, 32)))}
        params = 40 * int(choice["vars.dim"]) ** 2
        state = "failed" if number % 11 == 5 else "infeasible" if number % 7 == 3 else "complete"
        value = GAIN[choice["stage.block.mixer"]] + int(choice["vars.dim"]) / 64 + rng.gauss(0, 0.01)
        done = state == "complete"
        rows.append({"number": number, "parent": number - 1 if number else None, "choice": choice, "params": params,
                     "flops": 30 * params, "estimate": None, "score": value if done else None,
                     "values": [value, float(params)] if done else [], "feasible": state != "infeasible",
                     "state": state, "reason": "" if done else "the value is nan", "curve": []})  # fmt: skip
    return rows


def make_search(folder: Path, goals: dict[str, str] | None = None) -> Path:
    """Write the folder and return it."""
    rows = trials()
    best = max((r for r in rows if r["values"]), key=lambda r: r["score"])
    study = {
        "goals": goals or {"validation": "maximize"}, "budget": {}, "sampler": "evolution", "log10_size": 0.9542426,
        "evaluated": 35, "stopped": "trials", "states": {"complete": 30, "failed": 4, "infeasible": 6},
        "reasons": [{"state": "failed", "reason": "the value is <nan>", "times": 4}], "best": best["number"],
        "front": [best["number"], 0], "importance": {"vars.dim": 0.625, "stage.block.mixer": 0.25},
        "lineage": [
            {"trial": 0, "edits": ["vars.dim: 8 -> 16", "mid = <b>"], "values": [0.5, 9.0], "state": "complete",
             "params": 10240},
            {"trial": best["number"], "edits": ["vars.dim: 16 -> 32"], "values": [], "state": "failed", "params": None},
        ],
    }  # fmt: skip
    summary = {"recipe": "mixers", "verdict": "The best of 35 trials is number 7.", "study": study}
    summary["result"] = {"metric": "validation", "choice": best["choice"], "params": best["params"]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (folder / "candidates.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    (folder / "best.yaml").write_text("kind: model\nname: mixers\n", encoding="utf-8")
    return folder
