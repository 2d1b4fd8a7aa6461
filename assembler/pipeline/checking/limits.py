"""What is wrong with budgets, as they are written: costs that there are not, limits that are no numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from assembler import registry
from assembler.errors import Problem, RecipeError, Span, near
from assembler.recipe.choices.where import COSTS
from assembler.recipe.expressions import evaluate, parse
from assembler.recipe.values import Map, Value, plain
from assembler.registry import checks

ADDED = ("params", "flops", "memory", "latency")
"""What budgets of assemblies bound: what parts add up to. Those of other candidates bound all costs."""
_UNITS = {
    "params": ("parameters", "20000"),
    "flops": ("FLOPs of a sample", "1e6"),
    "memory": ("bytes", "1e6"),
    "latency": ("milliseconds", "5"),
    "depth": ("steps on the longest way", "40"),
    "steps": ("steps of the graph", "100"),
}
"""The unit of each cost, and a usual limit."""


def costs(budget: Value | None, known: Sequence[str] = COSTS) -> Iterator[Problem]:
    """What is wrong with the names of the costs of a budget."""
    section = budget if isinstance(budget, Map) else Map()
    for name in section.keys():
        if name not in known:
            hint = near(name, known) or f"budgets: {', '.join(known)}"
            yield Problem(f"there is no budget for '{name}'", section.key_span(name), hint=hint)


def limits(budget: Value, mode: object, models: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with the budget of a phase that searches; expressions may read the `models` made before it."""
    yield from costs(budget, ADDED if mode == "parts" else COSTS)
    for name, limit in budget if isinstance(budget, Map) else ():
        said = plain(limit)
        if isinstance(said, str) and said.startswith("="):
            try:
                said = _worth(said, limit.span, models)
            except RecipeError as error:
                yield from (_unmade(p, name, models) for p in error.at(limit.span).problems)
                continue
        if isinstance(said, bool) or not isinstance(said, int | float) or said <= 0:
            shown = checks.shown(plain(limit))
            unit, usual = _UNITS.get(name, ("", "20000"))
            hint = f"{unit and f'in {unit}: '}for instance {usual}, or of a model made before it: =0.5 * teacher"
            yield Problem(f"the budget of '{name}' must be a number above 0, not {shown}", limit.span, hint=hint)


def _worth(text: str, span: Span | None, models: Sequence[str]) -> object:
    return evaluate(parse(text, span), dict.fromkeys(models, 1e6))


def _unmade(problem: Problem, cost: str, models: Sequence[str]) -> Problem:
    """What is wrong with an expression in the budget of a cost, where only models that phases make are known."""
    if problem.message.startswith("names have no dots here"):
        return replace(problem, hint=f"the name of a model stands for its {cost}: =0.5 * teacher")
    name = problem.message.removeprefix("unknown name '").rstrip("'")
    if not problem.message.startswith("unknown name ") or near(name, models):
        return problem
    made = f"models made before it: {', '.join(models)}; " if models else ""
    hint = f"{made}a phase '{name}' before it would make one" if makes_model(name) else made.rstrip("; ")
    return replace(problem, hint=hint or "a phase before it, for instance 'teacher', has to make a model")


def makes_model(kind: str) -> bool:
    """Whether a phase of that name would make a model."""
    return kind in registry.names("phase") and bool(registry.lookup("phase", kind).option("makes"))
