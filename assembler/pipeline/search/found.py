"""Searches of a run: studies in its folder, and what they found as a product that later phases read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assembler.assemble.job import Job
from assembler.assemble.product import Product
from assembler.assemble.task import Task, module_code, task
from assembler.errors import InputError
from assembler.infer.cost import train_flops
from assembler.pipeline.checking.budgets import fixed
from assembler.pipeline.search.assemblies import Assembler, Assemblies, indexed
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.costs import ADDITIVE, costs_of, latencies
from assembler.pipeline.search.page import study_data
from assembler.pipeline.search.rows import CANDIDATES, row_of
from assembler.pipeline.search.run import Search, kept, opened
from assembler.pipeline.search.settings import Running, Settings
from assembler.pipeline.search.trainer import Trainer
from assembler.search.exact import Additive, binding
from assembler.search.linear import bounded
from assembler.search.storage import JOURNAL
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
    """Search the run's model, and return the task that says what was found.

    Notes the study. Of a search that trains candidates also the winner, with what a training needs that goes on with
    its weights, and where it was trained itself as the model of the phase.
    """
    how = replace(how, seed=seed)
    with latencies(run.runner.store.root) as steps:
        maker = _assembler(run, how, steps) if how.mode == "parts" else _trainer(run, how, steps)
        search = Search.of(maker)
        study = _study(run, search)
    run.studies[seed] = study_data(maker.candidates.space, how, study)
    assert study.best is not None
    needs = {f"trial/{n}": replace(t, phase=run.phase) for n, t in enumerate(search.mode.spent(study.trials))}
    inputs: dict[str, Any] = {
        "sampler": _named(how.sampler),
        "budget": how.budget or {},
        "mode": how.mode,
        "seed": seed,
    }
    if isinstance(maker, Assembler):
        found, rows = _assembly(run, search, study), _rows(run, search, study)
        inputs |= {
            "slots": _slots(run, maker),
            "fixed": dict(maker.additive.fixed),
            "binding": binding(maker.additive),
        }
    else:
        found, rows = _winner(run, search, study), [row_of(t) for t in study.trials]
        needs |= run.winners[seed][1]
    inputs |= {"rows": rows, "found": {**found, "labels": study.best.labels, "evaluated": study.evaluated,
                                       "space_size": study.space_size}}  # fmt: skip
    label = run.say("search", seed)
    return task(f"{__name__}:record", inputs, needs, label=label, phase=run.phase, code=[module_code(__name__)])


def _study(run: Run, search: Search) -> Study:
    """Search with the run's workers, on a study in the run's folder. Assemblies are validated one by one, in order."""
    how, seeds = search.maker.how, len(run.seeds)
    name = run.spec.name + (f"-seed{how.seed}" if seeds > 1 else "")
    storage = f"journal:///{(run.place.folder / JOURNAL).absolute()}" if run.place else None
    running = Running(1 if how.mode == "parts" else run.runner.workers, storage=storage, study=name)
    on_trial = run.on_search(run.phase, how.goals, how.trials) if run.on_search else None
    with kept(search, running, basis=search.basis) as log:
        return search.run(run.runner, running, log, on_trial)


def _trainer(run: Run, how: Settings, steps: dict[str, float]) -> Trainer:
    spec, beside = run.spec, run.teachers(how.seed, None)
    if beside and how.mode == "supernet":
        said = f"the task compares with '{next(iter(beside))}', which a supernet's training does not"
        raise InputError(said, hint="search: {mode: trials}, or inherit, or parts")
    document, store = spec.document, run.runner.store
    candidates = opened(document, how.reckoned, steps)
    return Trainer(document, candidates, how, store, run.device, spec.task, spec.metric, run.phase, beside)


def _assembler(run: Run, how: Settings, steps: dict[str, float]) -> Assembler:
    """What makes assemblies of the parts that were trained; those that failed are no candidates."""
    if not run.parts:
        raise InputError(f"phase '{run.phase}' needs parts, and no phase before it incubates any")
    spec, seed = run.spec, how.seed
    there = {
        slot: [i for i in range(len(found)) if isinstance(run.results[run.parts[seed][slot, i]], Product)]
        for slot, found in run.variants.items()
    }
    variants = {slot: [run.variants[slot][i] for i in found] for slot, found in there.items()}
    losses = {s: tuple(run.product(run.parts[seed][s, i]).result["loss"] for i in found) for s, found in there.items()}
    wanted = tuple(dict.fromkeys((*how.reckoned, *sorted(spec.space.costs & {*ADDITIVE}))))
    made = {s: [costs_of(v.graph, wanted, steps) for v in found] for s, found in variants.items()}
    outside = fixed(run.graphs[run.host], spec.split, wanted, steps)
    costs = {c: {s: tuple(cost[c] for cost in some) for s, some in made.items()} for c in wanted}
    labels = {slot: tuple(v.label for v in found) for slot, found in variants.items()}
    additive = Additive(losses, costs, outside, how.budget or {}, labels)
    parts = {slot: [(v.label, dict(v.picks)) for v in found] for slot, found in variants.items()}
    candidates = Assemblies(Candidates(spec.document.model, spec.name, wanted, steps), parts, additive)
    candidates.whole.begin()
    additive = bounded(additive, spec.space.where)
    inputs, beside = run.common(seed, None, None), run.teachers(seed, None)
    return Assembler(spec.document, candidates, how, run, there, inputs, beside, additive, run.phase)


def _slots(run: Run, maker: Assembler) -> dict[str, list[dict[str, Any]]]:
    """The parts of each slot that were there to choose from: which variant of the slot, and what it costs."""
    costs = maker.additive.costs
    return {
        slot: [
            {"variant": i, "label": run.variants[slot][i].label, **{c: cost[slot][n] for c, cost in costs.items()}}
            for n, i in enumerate(found)
        ]
        for slot, found in maker.variants.items()
    }


def _assembly(run: Run, search: Search, study: Study) -> dict[str, Any]:
    """What the best assembly is, as the index of a part in each slot, and what it came to."""
    assert study.best is not None
    seen = run.product(search.mode.made(study.best)).result
    return {"choice": indexed(study.best.choice), "validation": seen["validation"], "loss": seen["loss"]}


def _rows(run: Run, search: Search, study: Study) -> list[dict[str, Any]]:
    """The rows of assemblies, whatever the objectives with the metric and the loss; equal ones have the same."""
    made = {t.key: search.mode.made(t) for t in study.trials if t.state == "complete"}
    done = run.make(made.values())
    seen = {key: found.result for key, task in made.items() if isinstance(found := done[task], Product)}
    both = [(t, seen.get(t.key, {}) if t.values else {}) for t in study.trials]
    return [row_of(t) | {"score": found.get("validation"), "loss": found.get("loss")} for t, found in both]


def _winner(run: Run, search: Search, study: Study) -> dict[str, Any]:
    """What the best candidate is and what it came to; noted as a winner, and as a model where it was trained."""
    how, mode, best = search.maker.how, search.mode, study.best
    assert best is not None
    graph = search.maker.candidates.graph(best.choice)
    run.winners[how.seed] = (graph, mode.weights(best))
    trained = mode.final(best) or (mode.made(best) if how.mode != "supernet" else None)
    if trained is not None:
        run.models.setdefault(run.phase, {})[how.seed] = trained
        run.graphs.setdefault(run.phase, graph)
        run.make([trained])
    values = dict(zip(how.goals, best.values or (), strict=True))
    return {
        "choice": {name: list(p) if isinstance(p, tuple) else p for name, p in best.choice.items()},
        **_scores(run, trained, values),
        "flops": _unseen(run.spec, search.maker.candidates, study, how.mode),
    }


def _named(sampler: str | dict[str, Any]) -> dict[str, Any]:
    return {"name": sampler} if isinstance(sampler, str) else sampler


def _scores(run: Run, trained: Task | None, values: Mapping[str, float]) -> dict[str, Any]:
    """What the winner came to on validation."""
    known = {**values, **(run.product(trained).result if trained is not None else {})}
    return {name: known.get(name) for name in ("validation", "loss")}


def _unseen(spec: RunSpec, candidates: Candidates | Assemblies, study: Study, mode: str) -> int:
    """FLOPs of a search that no product tells of: trials that were ended early, and scores with shared weights."""
    data = load(spec.data)
    if mode == "supernet":
        return sum(int(t.costs["flops"]) for t in study.trials if t.counts) * len(data.validation)
    ended = [t for t in study.trials if t.state == "pruned" and t.curve]
    return sum(train_flops(candidates.graph(t.choice)) * len(data.train) * t.curve[-1][0] for t in ended)
