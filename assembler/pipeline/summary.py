"""What a run found, as the plain data of summary.json: costs, result, baselines, and the verdict in words."""

from __future__ import annotations

import platform
import statistics
from importlib.metadata import version
from typing import Any

from assembler import __version__
from assembler.assemble.plan import Failure
from assembler.assemble.product import Product
from assembler.assemble.task import Task
from assembler.infer.cost import total
from assembler.pipeline.spending import by_phase, path_flops, path_tasks, seconds
from assembler.pipeline.state import ASSEMBLED as NAME
from assembler.pipeline.state import Run
from assembler.report.numbers import points, spread
from assembler.train.evaluate import higher_is_better

Tests = dict[Task, Task]


def summary(run: Run, tests: Tests, wall: float) -> dict[str, Any]:
    """The summary of a finished run. Costs and counts are those of one seed's whole path, the mean over seeds."""
    paths = [path_tasks(run, seed) for seed in run.seeds]
    flops = _mean_by_phase(run, [by_phase(run, p) for p in paths])
    found: dict[str, Any] = {
        "recipe": run.spec.name,
        "doc": run.spec.document.tree.get("doc").value if run.spec.document.tree.get("doc") else "",
        "seeds": list(run.seeds),
        "cost": {
            "train_flops": {phase: round(f) for phase, f in flops.items()},
            "path_flops": round(sum(flops.values())),
        },
        "time": {p: round(s, 2) for p, s in _mean_by_phase(run, [seconds(run, p) for p in paths]).items()},
        "wall_seconds": round(wall, 2),
        "result": _result(run, tests),
        "models": {name: _model(run, tests, name) for name in run.models if name not in (NAME, *run.baselines)},
        "baselines": [_baseline(run, tests, name) for name in run.baselines],
        "host": run.host or None,
        "search": _search(run),
        "studies": [{"seed": seed, **study} for seed, study in run.studies.items()],
        "slots": [{"name": s, "variants": [v.label for v in found]} for s, found in _slots(run).items()],
        "failures": _failures(run),
        "device": run.device,
        "versions": {"python": platform.python_version(), "torch": version("torch"), "assembler": __version__},
    }
    found["verdict"] = verdict(found)
    return found


def main_model(run: Run) -> str:
    """The model that a run is about: the one rewritten last, else the assembled one, else the last that was trained."""
    return run.main or (NAME if NAME in run.models else list(run.models)[-1])


def metric_of(run: Run, name: str) -> str:
    """What a model is judged by."""
    return str(next(iter(run.models[name].values())).parameters["metric"])


def _mean_by_phase(run: Run, paths: list[dict[str, Any]]) -> dict[str, float]:
    """The mean over the paths, in the order of the run's phases."""
    phases = [p.name for p in run.spec.phases if any(p.name in path for path in paths)]
    return {phase: sum(path.get(phase, 0) for path in paths) / len(paths) for phase in phases}


def _slots(run: Run) -> dict[str, Any]:
    return dict(run.variants) if run.parts else {}


def _scores(run: Run, tests: Tests, name: str) -> list[float]:
    """The test score of every seed's model of that name."""
    found = (run.results.get(tests[m]) for m in run.models[name].values() if m in tests)
    return [p.result["test"] for p in found if isinstance(p, Product)]


def _products(run: Run, name: str) -> list[Product]:
    return [p for m in run.models[name].values() if isinstance(p := run.results[m], Product)]


def _spread(scores: list[float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation over seeds; one seed has no spread."""
    mean = statistics.fmean(scores) if scores else None
    return mean, statistics.stdev(scores) if len(scores) > 1 else None


def _result(run: Run, tests: Tests) -> dict[str, Any]:
    name = main_model(run)
    scores, products = _scores(run, tests, name), _products(run, name)
    mean, std = _spread(scores)
    cost = total(run.assembled[run.seeds[0]] if name == NAME else run.graphs[name])
    result = {
        "model": name,
        "metric": metric_of(run, name),
        "test": mean,
        "test_std": std,
        "test_per_seed": scores,
        "validation": _spread([p.result["validation"] for p in products])[0],
        "before_tuning": _spread([p.result["before"] for p in products])[0] if name == NAME else None,
        "params": cost.params,
        "flops": cost.flops,
    }
    if run.searches:
        choices = [run.product(made).result["labels"] for made in run.searches.values()]
        result |= {"choice": choices[0], "choices": choices}
        result["params_per_seed"] = [total(g).params for g in run.assembled.values()]
    return result


def _model(run: Run, tests: Tests, name: str) -> dict[str, Any]:
    mean, std = _spread(_scores(run, tests, name))
    validation = _spread([p.result["validation"] for p in _products(run, name)])[0]
    cost = run.cost(name)
    told = next((p.result for p in _products(run, name)), {})
    begun: dict[str, Any] = {key: told[key] for key in ("loaded", "initialised", "taken", "account") if key in told}
    return {
        "metric": metric_of(run, name),
        "validation": validation,
        "test": mean,
        "test_std": std,
        "params": cost.params,
        "flops": cost.flops,
        "own": [what for phase in run.spec.phases if phase.name == name for what in phase.own],
        **begun,
    }


def _baseline(run: Run, tests: Tests, name: str) -> dict[str, Any]:
    scores, ours = _scores(run, tests, name), _spread(_scores(run, tests, main_model(run)))[0]
    mean, std = _spread(scores)
    spent = [p.result["train_flops"] for p in _products(run, name)]
    if name == "random_assembly":  # it stands on the same parts, so it costs what we spent but for the tuning
        tuned = [p.result["train_flops"] for p in _products(run, NAME)]
        spent = [path_flops(run, s) - t + o for s, t, o in zip(run.seeds, tuned, spent, strict=False)]
    return {
        "name": name,
        "doc": run.baselines[name],
        "test_mean": mean,
        "test_std": std,
        "test_per_seed": scores,
        "train_flops": round(statistics.fmean(spent)) if spent else 0,
        "wins": mean is not None and ours is not None and _better(metric_of(run, main_model(run))) * (mean - ours) > 0,
    }


def _search(run: Run) -> dict[str, Any] | None:
    if not run.searches:
        return None
    made = [run.product(t) for t in run.searches.values()]
    inputs = next(iter(run.searches.values())).parameters
    return {
        "space_size": made[0].result["space_size"],
        "evaluated": round(statistics.fmean(p.result["evaluated"] for p in made)),
        "mode": inputs.get("mode", "parts"),
        "assembled": inputs.get("mode", "parts") != "parts" or NAME in run.models,
        "best": {"validation": made[0].result["validation"], "loss": made[0].result["loss"]},
        "sampler": inputs["sampler"]["name"],
        "budget": inputs["budget"],
        "binding": inputs.get("binding", {}),
        "seconds": round(sum(p.seconds for p in made), 2),
    }


def _failures(run: Run) -> list[dict[str, str]]:
    return [{"task": t.name, "reason": f.reason} for t, f in run.results.items() if isinstance(f, Failure)]


def verdict(found: dict[str, Any]) -> str:
    """The comparison in a sentence or two, the same whether it speaks for the method or against it."""
    result, baselines = found["result"], found["baselines"]
    metric = result["metric"]
    if result["test"] is None:
        return "No model was finished."
    said = f"{result['model']}: test {metric} {spread(result['test'], result['test_std'], metric)}"
    teacher = found["models"].get("teacher")
    if teacher and teacher["test"] is not None and result["model"] != "teacher":
        share = 100 * result["params"] / teacher["params"]
        theirs = spread(teacher["test"], teacher["test_std"], metric)
        said += f" with {share:.0f} % of the teacher's parameters (teacher {theirs})"
    left = (found.get("search") or {}).get("assembled") is False
    note = ["What the search chose is not assembled: the run has no assemble phase."] if left else []
    return " ".join([f"{said}.", *note, *(_compared(one, result, metric) for one in baselines)])


def _compared(one: dict[str, Any], result: dict[str, Any], metric: str) -> str:
    if one["test_mean"] is None:
        return f"{one['name']} did not finish."
    gap = _better(metric) * (result["test"] - one["test_mean"])
    size = points(abs(gap), metric).lstrip("+")
    noise = max(result["test_std"] or 0.0, one["test_std"] or 0.0)
    close = " (within the spread of the seeds)" if abs(gap) <= noise else ""
    tie = size == points(0.0, metric).lstrip("+")
    relation = "ties with us" if tie else f"{'wins against us' if gap < 0 else 'loses'} by {size}{close}"
    return f"{one['name']} {relation}: {spread(one['test_mean'], one['test_std'], metric)}."


def _better(metric: str) -> int:
    """1 where more of a metric is better, -1 where less is."""
    return 1 if higher_is_better(metric) else -1
