"""Constraints that are linear in costs that add up, as budgets of an additive problem."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from assembler.errors import RecipeError
from assembler.recipe.choices.where import Rule
from assembler.recipe.expressions import evaluate, parse
from assembler.search.exact import Additive

_ONE = ""
"""What a constant is a multiple of."""
_SIGNS = {ast.LtE: 1.0, ast.Lt: 1.0, ast.GtE: -1.0, ast.Gt: -1.0}


def bounded(problem: Additive, rules: Iterable[Rule]) -> Additive:
    """The problem with a budget for each constraint that bounds a sum of its costs, `2 * params + flops <= 1e6` say.

    Whether others hold, on decisions or on costs that do not add up, is for those who look at its solutions.
    """
    for weights, limit in itertools.chain.from_iterable(map(_bounds, rules)):
        if weights.keys() <= problem.costs.keys():
            name = " + ".join(_term(cost, weight) for cost, weight in weights.items())
            problem = _priced(problem, name, weights)
            problem = replace(problem, budget={**problem.budget, name: min(limit, problem.budget.get(name, math.inf))})
    return problem


def _term(cost: str, weight: float) -> str:
    return cost if weight == 1 else f"-{cost}" if weight == -1 else f"{weight:g} * {cost}"


def _priced(problem: Additive, name: str, weights: Mapping[str, float]) -> Additive:
    """The problem with a weighted sum of costs as a cost too, unless it is one of them."""
    if name in problem.costs:
        return problem
    cost = {
        slot: tuple(math.fsum(w * problem.costs[c][slot][i] for c, w in weights.items()) for i in range(len(scores)))
        for slot, scores in problem.scores.items()
    }
    fixed = math.fsum(w * problem.fixed.get(c, 0.0) for c, w in weights.items())
    return replace(problem, costs={**problem.costs, name: cost}, fixed={**problem.fixed, name: fixed})


def _bounds(rule: Rule) -> Iterator[tuple[dict[str, float], float]]:
    """(weights, limit) of each sum of costs that a constraint keeps at a limit or below."""
    names = {**{name: name for name in rule.costs}, **dict(rule.named)}
    known = {name: read.value for name, read in rule.reads if not read.decisions and read.section is None}
    tree = rule.expression.tree
    for part in tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]:
        if not isinstance(part, ast.Compare):
            continue
        for left, op, right in zip([part.left, *part.comparators], part.ops, part.comparators, strict=False):
            sign, a, b = _SIGNS.get(type(op)), _linear(left, names, known), _linear(right, names, known)
            if sign is None or a is None or b is None:
                continue
            weights = {c: w for c, w in _added(a, b, -1.0, sign).items() if w}
            limit = -weights.pop(_ONE, 0.0)
            if weights:
                yield weights, math.nextafter(limit, -math.inf) if isinstance(op, ast.Lt | ast.Gt) else limit


def _linear(node: ast.expr, names: Mapping[str, str], known: Mapping[str, Any]) -> dict[str, float] | None:
    """An expression as weights of costs, by `names`, and of one; None where it is none or reads what is not `known`."""
    if isinstance(node, ast.Name) and node.id in names:
        return {names[node.id]: 1.0}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        one = _linear(node.operand, names, known)
        return None if one is None else _added({}, one, -1.0)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
        a, b = _linear(node.left, names, known), _linear(node.right, names, known)
        return None if a is None or b is None else _combined(node.op, a, b)
    try:
        value = evaluate(parse("=" + ast.unparse(node)), known)
    except RecipeError:
        return None
    return {_ONE: float(value)} if isinstance(value, int | float) else None


def _combined(op: ast.operator, a: dict[str, float], b: dict[str, float]) -> dict[str, float] | None:
    if isinstance(op, ast.Add | ast.Sub):
        return _added(a, b, 1.0 if isinstance(op, ast.Add) else -1.0)
    if isinstance(op, ast.Mult) and a.keys() == {_ONE}:
        a, b = b, a
    if b.keys() != {_ONE} or (isinstance(op, ast.Div) and not b[_ONE]):
        return None
    by = b[_ONE] if isinstance(op, ast.Mult) else 1 / b[_ONE]
    return {cost: weight * by for cost, weight in a.items()}


def _added(a: dict[str, float], b: dict[str, float], sign: float, by: float = 1.0) -> dict[str, float]:
    """(a + sign * b) * by."""
    return {cost: by * (a.get(cost, 0.0) + sign * b.get(cost, 0.0)) for cost in {**a, **b}}
