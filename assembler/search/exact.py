"""The best assembly of parts whose scores add up, under linear budgets, by mixed-integer programming.

A multiple-choice knapsack: one binary a (slot, variant), one variant a slot, every budgeted cost within its limit.
HiGHS finds the best assembly and proves it; the next best follow under the prices of its linear relaxation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from assembler.errors import InputError, Problem, near
from assembler.search.program import Program
from assembler.search.ranking import Ranking

_POOL = 8  # next best assemblies that are looked for at first; twice as many each further time
_ROUNDING = 1e-12  # of sums of floats, relative to the numbers summed
_SHOWN = 8  # slots that a message lists before it stops


class BudgetError(InputError):
    """No assembly meets the budget; the message names what binds and the cheapest assembly."""


@dataclass(frozen=True)
class Solution:
    """An assembly: the variant picked in each slot, its score (lower is better) and its costs, fixed ones included."""

    choice: dict[str, int]
    score: float
    costs: dict[str, float]


@dataclass(frozen=True)
class Additive:
    """Scores and costs that add up over slots.

    `scores[slot]` has one number a variant, lower is better, infinity for one that is not available;
    `costs[cost][slot]` likewise. `fixed[cost]` is what the rest of the model costs, `budget[cost]` the most that the
    whole may. `labels[slot]` names the variants in messages.
    """

    scores: Mapping[str, tuple[float, ...]]
    costs: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)
    budget: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise InputError(problems)

    @cached_property
    def available(self) -> dict[str, tuple[int, ...]]:
        """The variants of each slot that can be used: finite in score and in every budgeted cost."""
        rows = {slot: [self.scores[slot], *(self.costs[c][slot] for c in self.budget)] for slot in self.scores}
        return {s: tuple(i for i, v in enumerate(zip(*r, strict=True)) if _finite(v)) for s, r in rows.items()}

    def score(self, choice: Mapping[str, int]) -> float:
        """The summed score of an assembly."""
        return math.fsum(scores[choice[slot]] for slot, scores in self.scores.items())

    def cost(self, name: str, choice: Mapping[str, int]) -> float:
        """One cost of the whole model under an assembly."""
        parts = (self.costs[name][slot][choice[slot]] for slot in self.scores)
        return math.fsum([self.fixed.get(name, 0.0), *parts])

    def solution(self, choice: Mapping[str, int]) -> Solution:
        """The assembly with its score and costs."""
        return Solution(dict(choice), self.score(choice), {name: self.cost(name, choice) for name in self.costs})

    def fits(self, choice: Mapping[str, int]) -> bool:
        """Whether an assembly meets every budget."""
        return all(self.cost(name, choice) <= limit for name, limit in self.budget.items())


def solve(problem: Additive, pool: int = 1) -> list[Solution]:
    """The `pool` best assemblies, best first (fewer where fewer exist).

    Raises BudgetError naming the binding budgets if none meets them.
    """
    return sorted(itertools.islice(solutions(problem), pool), key=lambda s: s.score)


def solutions(problem: Additive) -> Iterator[Solution]:
    """Assemblies in order of score, best first, each once; further ones are looked for only when asked for.

    Raises BudgetError, at the first, if none meets the budgets.
    """
    best = _best(problem, problem.scores, problem.budget)
    if best is None:
        raise _explain(problem)
    first = problem.solution(best)
    yield first
    slots, given = list(problem.scores), {tuple(best.values())}
    ranked = _ranking(problem)
    for count in (_POOL * 2**i for i in itertools.count()):
        pool = ranked.best(count)
        for picks in pool:
            choice = dict(zip(slots, picks, strict=True))
            if picks not in given and problem.fits(choice):
                given.add(picks)
                yield problem.solution(choice)
        if len(pool) < count:
            return


def diverse(problem: Additive, apart: int) -> Iterator[Solution]:
    """Assemblies in order of score of which each differs from all before it in at least so many slots.

    Raises BudgetError, at the first, if none meets the budgets.
    """
    program = _program(problem, problem.scores, problem.budget)
    given = 0
    while (choice := program.solve()) is not None:
        if problem.fits(choice):
            given += 1
            yield problem.solution(choice)
        program.exclude(choice, apart if problem.fits(choice) else 1)
    if not given:
        raise _explain(problem)


def binding(problem: Additive) -> dict[str, float]:
    """The budgets that hold the best assembly back, by what a further unit would be worth in score to begin with."""
    prices = _program(problem, problem.scores, problem.budget).prices()
    return {name: price for name, price in prices.items() if price > 0}


def _ranking(problem: Additive) -> Ranking:
    prices = _program(problem, problem.scores, problem.budget).prices()
    return Ranking(
        list(problem.scores.values()),
        [[problem.costs[name][slot] for slot in problem.scores] for name in problem.budget],
        [problem.available[slot] for slot in problem.scores],
        list(_limits(problem, problem.budget).values()),
        [prices[name] for name in problem.budget],
    )


def _limits(problem: Additive, budget: Mapping[str, float]) -> dict[str, float]:
    """What the slots may cost, a rounding error more: whatever is found is checked by an exact sum afterwards."""
    fixed = {name: problem.fixed.get(name, 0.0) for name in budget}
    return {n: limit - fixed[n] + _ROUNDING * (abs(limit) + abs(fixed[n])) for n, limit in budget.items()}


def _program(problem: Additive, scores: Mapping[str, tuple[float, ...]], budget: Mapping[str, float]) -> Program:
    costs = {name: problem.costs[name] for name in budget}
    return Program(problem.available, scores, costs, _limits(problem, budget))


def _best(
    problem: Additive, scores: Mapping[str, tuple[float, ...]], budget: Mapping[str, float]
) -> dict[str, int] | None:
    """The assembly of least `scores` within `budget`, or None."""
    program = _program(problem, scores, budget)
    while (choice := program.solve()) is not None:
        if all(problem.cost(name, choice) <= limit for name, limit in budget.items()):
            return choice
        program.exclude(choice)  # the solver's tolerance let one through that is over by a hair
    return None


def _explain(problem: Additive) -> BudgetError:
    alone = []
    for name, limit in problem.budget.items():
        costs = problem.costs[name]
        cheapest = {slot: min(open_, key=lambda i: costs[slot][i]) for slot, open_ in problem.available.items()}
        needs = problem.cost(name, cheapest)
        if needs > limit:
            what = f"no assembly fits {name} <= {number(limit)}: the cheapest needs {number(needs)}"
            alone.append(Problem(f"{what} ({_named(problem, cheapest)})"))
    return BudgetError(alone or _jointly(problem))


def _jointly(problem: Additive) -> Problem:
    binding = dict(problem.budget)
    for name in problem.budget:
        fewer = {k: v for k, v in binding.items() if k != name}
        if _best(problem, problem.scores, fewer) is None:
            binding = fewer
    limits = {name: f"{name} <= {number(limit)}" for name, limit in binding.items()}
    lines = []
    for name in binding:
        others = {k: v for k, v in binding.items() if k != name}
        cheapest = _best(problem, problem.costs[name], others)
        assert cheapest is not None  # `binding` is minimal: without `name` there is an assembly
        given = " and ".join(limits[k] for k in others)
        needs = number(problem.cost(name, cheapest))
        lines.append(f"with {given} the cheapest needs {name} {needs} ({_named(problem, cheapest)})")
    return Problem(f"no assembly fits {' and '.join(limits.values())} together", hint="; ".join(lines))


def _named(problem: Additive, choice: Mapping[str, int]) -> str:
    words = [f"{slot}={problem.labels[slot][i] if slot in problem.labels else i}" for slot, i in choice.items()]
    more = f", and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more


def number(value: float) -> str:
    """A cost for people: whole numbers with thousands separated, others with six digits."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


def _finite(values: tuple[float, ...]) -> bool:
    return all(math.isfinite(v) for v in values)


def _problems(problem: Additive) -> Iterator[Problem]:
    if not problem.scores:
        yield Problem("there is no slot to fill")
    for name in [*problem.budget, *problem.fixed]:
        if name not in problem.costs:
            known = ", ".join(problem.costs) or "none"
            yield Problem(f"there is no cost '{name}'", hint=near(name, problem.costs) or f"costs: {known}")
    for slot, scores in problem.scores.items():
        if any(math.isnan(s) or s == -math.inf for s in scores):
            yield Problem(f"a score of slot '{slot}' is not a number")
        if not any(math.isfinite(s) for s in scores):
            yield Problem(f"slot '{slot}' has no part that can be used")
    for name, costs in problem.costs.items():
        for slot, scores in problem.scores.items():
            if len(costs.get(slot, ())) != len(scores):
                yield Problem(f"cost '{name}' of slot '{slot}' needs {len(scores)} numbers")
