"""A search from beginning to end: what it is given, what it ends with, and what is said when nothing works."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from assembler.errors import AssemblerError, InputError, TaskError
from assembler.recipe.choices import Choice, Space
from assembler.search.evaluators import Evaluator, InProcess
from assembler.search.exact import BudgetError
from assembler.search.judge import Judge, Refuse
from assembler.search.log import Log, Memory
from assembler.search.loop import Loop
from assembler.search.pareto import Direction, front
from assembler.search.samplers.base import Sampler
from assembler.search.trial import State, Stop, Study, Trial, identity
from assembler.search.watch import OnTrial, Watch

__all__ = ["State", "Stop", "Study", "Trial", "identity", "run"]


def run(
    space: Space,
    evaluate: Callable[[Choice], float | Sequence[float]] | Evaluator,
    sampler: Sampler,
    trials: int,
    *,
    cost: Callable[[Choice], dict[str, float]] | None = None,
    budget: Mapping[str, float] | None = None,
    key: Callable[[Choice], str] | None = None,
    on_trial: OnTrial = None,
    where: Refuse | None = None,
    directions: Sequence[Direction] = ("maximize",),
    history: Sequence[Trial] = (),
    timeout: float | None = None,
    log: Log | None = None,
) -> Study:
    """Search until `trials` candidates have been evaluated, those in `history` and of others who use `log` included.

    A candidate whose `cost` exceeds the `budget`, or that `cost` or `key` refuses with a RecipeError, is infeasible;
    so is one for which `where` has a reason, before its graph is looked at (it is given no costs) or after. One whose
    `key` (an architecture's fingerprint; the choice itself by default) is known gets the known value; one that is being
    evaluated is waited for. Neither is evaluated nor uses up a trial. `evaluate` raising, or returning what is not
    finite, fails that trial alone. With an Evaluator several trials are open at a time; with one at a time, trials
    depend on the sampler's seed alone. Nothing is begun after `timeout` seconds; `on_trial` sees each new trial,
    a `Watch` the others too.

    Raises BudgetError where nothing fits and TaskError where every evaluation failed.
    """
    if budget and cost is None:
        raise InputError("a budget needs costs to hold against it")
    evaluator = _in_process(evaluate) if callable(evaluate) else evaluate
    judge = Judge(space, cost, dict(budget or {}), key, where)
    watch = on_trial if isinstance(on_trial, Watch) else Watch(on_trial) if on_trial else Watch()
    loop = Loop(space, sampler, evaluator, judge, log or Memory(history), tuple(directions), trials, watch)
    loop.remember(history)
    stopped = loop.run(timeout)
    found = tuple(loop.trials[number] for number in sorted(loop.trials))
    done = [t for t in found if t.state == "complete"]
    best_of_all = tuple(done[i] for i in front([t.values or () for t in done], directions))
    best = best_of_all[0] if best_of_all else None
    if best is None and found:
        raise _nothing(found, judge.budget)
    return Study(found, best, loop.evaluated, space.size, stopped, best_of_all)


def _in_process(evaluate: Callable[[Choice], float | Sequence[float]]) -> InProcess:
    return InProcess(lambda trial: evaluate(trial.choice))


def _nothing(trials: Sequence[Trial], budget: Mapping[str, float]) -> AssemblerError:
    """Why no trial is complete: the most frequent reason, or how far from the budget the nearest candidate was."""
    failed = [t for t in trials if t.state == "failed"]
    over = [t for t in trials if t.state == "infeasible" and t.costs]
    broken = Counter(t.reason for t in trials if t.state == "infeasible" and t.reason.startswith("where: "))
    if broken and not failed:
        listed = "; ".join(f"'{reason.removeprefix('where: ')}' {count:,}" for reason, count in broken.most_common())
        return BudgetError(f"none of {len(trials):,} candidates meets where, which refused, by constraint: {listed}")
    if failed or not over:
        named = failed or [t for t in trials if t.state in ("infeasible", "pruned")]
        kinds = Counter(_kind(t.reason) for t in named)
        kind, count = kinds.most_common(1)[0]
        example = next(t.reason for t in named if _kind(t.reason) == kind)
        what = "evaluations failed" if failed else "candidates are invalid"
        return TaskError(f"all {len(named)} {what}; {count} of them with: {example}")
    nearest = min(over, key=lambda t: max(t.costs[n] / limit if limit > 0 else math.inf for n, limit in budget.items()))
    return BudgetError(f"none of {len(over)} candidates fits the budget; the nearest has {nearest.reason}")


def _kind(reason: str) -> str:
    return re.sub(r"\d[\d.,]*", "#", reason)
