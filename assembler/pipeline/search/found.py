"""Searches of a run that train its candidates: what they found, as a product that later phases read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assembler.assemble.job import Job
from assembler.assemble.task import Task, module_code, task
from assembler.errors import InputError
from assembler.infer.cost import train_flops
from assembler.pipeline.search.assemblies import CANDIDATES
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.rows import row_of
from assembler.pipeline.search.run import Search, opened
from assembler.pipeline.search.settings import Running, Settings
from assembler.pipeline.search.trainer import Trainer
from assembler.search.study import Study
from assembler.train.data.core import load

if TYPE_CHECKING:
    from assembler.pipeline.spec import RunSpec
    from assembler.pipeline.state import Run


def record(job: Job) -> dict[str, Any]:
    """What a search found; the table of its candidates is a file."""
    (job.out / CANDIDATES).write_text("".join(json.dumps(row) + "\n" for row in job.inputs["rows"]))
    found: dict[str, Any] = job.inputs["found"]
    return found


def searched(run: Run, seed: int, how: Settings) -> Task:
    """Search the run's model by training candidates, and return the task that says what was found.

    Notes the winner, with what a training needs that goes on with its weights, and where it was trained also as the
    model of the phase.
    """
    spec, how = run.spec, replace(how, seed=seed)
    candidates = opened(spec.document)
    beside = run.teachers(seed, None)
    if beside and how.mode == "supernet":
        said = f"the task compares with '{next(iter(beside))}', which a supernet's training does not"
        raise InputError(said, hint="search: {mode: trials}, or inherit, or parts")
    trainer = Trainer(
        spec.document, candidates, how, run.runner.store, run.device, spec.task, spec.metric, run.phase, beside
    )
    search = Search.of(trainer)
    study = search.run(run.runner, Running(workers=run.runner.workers))
    best, mode = study.best, search.mode
    assert best is not None
    graph, weights = candidates.graph(best.choice), mode.weights(best)
    run.winners[seed] = (graph, weights)
    trained = mode.final(best) or (mode.made(best) if how.mode != "supernet" else None)
    if trained is not None:
        run.models.setdefault(run.phase, {})[seed] = trained
        run.graphs.setdefault(run.phase, graph)
        run.make([trained])
    needs = {f"trial/{n}": replace(t, phase=run.phase) for n, t in enumerate(mode.spent(study.trials))}
    found = {
        "choice": {name: list(p) if isinstance(p, tuple) else p for name, p in best.choice.items()},
        "labels": best.labels,
        **_scores(run, trained, dict(zip(how.goals, best.values or (), strict=True))),
        "evaluated": study.evaluated,
        "space_size": study.space_size,
        "flops": _unseen(spec, candidates, study, how.mode),
    }
    sampler: Mapping[str, Any] = {"name": how.sampler} if isinstance(how.sampler, str) else how.sampler
    inputs = {"found": found, "rows": [row_of(t) for t in study.trials], "sampler": dict(sampler),
              "budget": how.budget or {}, "mode": how.mode, "seed": seed}  # fmt: skip
    code = [module_code(__name__)]
    label = run.say("search", seed)
    return task(f"{__name__}:record", inputs, needs | weights, label=label, phase=run.phase, code=code)


def _scores(run: Run, trained: Task | None, values: Mapping[str, float]) -> dict[str, Any]:
    """What the winner came to on validation."""
    known = {**values, **(run.product(trained).result if trained is not None else {})}
    return {name: known.get(name) for name in ("validation", "loss")}


def _unseen(spec: RunSpec, candidates: Candidates, study: Study, mode: str) -> int:
    """FLOPs of a search that no product tells of: trials that were ended early, and scores with shared weights."""
    data = load(spec.data)
    if mode == "supernet":
        return sum(int(t.costs["flops"]) for t in study.trials if t.counts) * len(data.validation)
    ended = [t for t in study.trials if t.state == "pruned" and t.curve]
    return sum(train_flops(candidates.graph(t.choice)) * len(data.train) * t.curve[-1][0] for t in ended)
