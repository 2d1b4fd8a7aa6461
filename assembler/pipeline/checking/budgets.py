"""Budgets of assemblies: what a run's search may spend, and whether anything fits, told before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assembler.errors import GraphError, RecipeError, near
from assembler.graph.core import Graph
from assembler.graph.edit import extract
from assembler.infer.cost import Cost, total
from assembler.infer.shape import shapes
from assembler.pipeline.checking.run import COSTS
from assembler.pipeline.rewriting import planned
from assembler.pipeline.slots import check_host, variants
from assembler.pipeline.spec import RunSpec
from assembler.recipe.document import beside, changed
from assembler.recipe.expressions import evaluate, parse
from assembler.recipe.values import Leaf, Map, marked
from assembler.search.exact import Additive, BudgetError, solve
from assembler.search.linear import bounded
from assembler.wiring.build import build


def limits(budget: Mapping[str, Any], costs: Mapping[str, Cost]) -> dict[str, float]:
    """The budgets as numbers; an expression (`=0.5 * teacher`) is over the costs of the models made so far."""
    return {name: _limit(name, said, costs) for name, said in budget.items()}


def fixed(host: Graph, slots: tuple[str, ...]) -> dict[str, float]:
    """What a model costs outside its slots."""
    types, whole = shapes(host), total(host)
    inside = [total(extract(host, slot, types)) for slot in slots]
    return {name: float(getattr(whole, name) - sum(getattr(s, name) for s in inside)) for name in COSTS}


@dataclass(frozen=True)
class Which:
    """The model of a phase: the run's as it is written, or that of another recipe, with `changes` (path -> value)."""

    changes: Mapping[str, Any] | None = None
    model: str | None = None

    @staticmethod
    def of(options: Mapping[str, Any]) -> Which:
        """What the options of a phase say."""
        return Which(options.get("set"), options.get("model"))


OWN = Which()
"""The run's model as it is written."""


def model_of(spec: RunSpec, which: Which = OWN) -> Graph:
    """The graph of the model of a phase."""
    return build(tree_of(spec, which), name=spec.name)


def tree_of(spec: RunSpec, which: Which = OWN) -> Map:
    """The recipe of the model of a phase."""
    model = beside(spec.document, Leaf(which.model)).default if which.model else spec.document.default
    changes = which.changes or {}
    return changed(model, [(path, marked(value)) for path, value in changes.items()]) if changes else model


def check(spec: RunSpec) -> None:
    """Raise BudgetError, at the budget's place in the recipe, where no assembly of a run can meet it.

    Raises InputError where a host does not fit the slots.
    """
    graphs: dict[str, Graph] = {}
    host = "meta"
    for phase in spec.phases:
        kind = phase.entry.name
        if phase.begins_with_recipe:
            graphs[phase.name] = model_of(spec, Which.of(phase.options))
        elif kind == "rewrite" and (source := graphs.get(str(phase.options["of"]))) is not None:
            _plan(spec, phase.name, source, phase.options["apply"], graphs)
        elif phase.entry.option("makes") == "model" and kind != "rewrite":  # of the graph of the first that it reads
            of = phase.options.get("of")
            if (first := of[0] if isinstance(of, list) and of else of) in graphs:
                graphs[phase.name] = graphs[first]
        elif kind == "incubate":
            host = str(phase.options.get("host", host))
            if host in graphs and spec.split:
                check_host(graphs[host], host, variants(spec))
        elif kind == "search" and _of_parts(phase.options) and host in graphs:
            _fits(spec, phase.name, graphs, host, phase.options.get("budget") or {})


def _of_parts(options: Mapping[str, Any]) -> bool:
    return bool(options.get("mode", "parts") == "parts")


def _plan(spec: RunSpec, phase: str, source: Graph, apply: list[Any], graphs: dict[str, Graph]) -> None:
    """Note what a model will be once it is rewritten, where that does not depend on its weights."""
    try:
        found = planned(source, apply)
    except GraphError as error:
        raise error.at(_place(spec, phase, "apply")) from None
    if found is not None:
        graphs[phase] = found


def _fits(spec: RunSpec, phase: str, graphs: Mapping[str, Graph], host: str, budget: Mapping[str, Any]) -> None:
    """Raise BudgetError where no assembly is within the budget and the constraints that are linear in costs."""
    if not budget and not any(rule.costs for rule in spec.space.where):
        return
    try:
        solve(bounded(_problem(spec, graphs, host, budget), spec.space.where))
    except (BudgetError, RecipeError) as error:
        where = spec.document.model.get("where")
        raise error.at(_place(spec, phase, "budget") if budget or where is None else where.span) from None


def _problem(spec: RunSpec, graphs: Mapping[str, Graph], host: str, budget: Mapping[str, Any]) -> Additive:
    found = {slot: [(v.label, total(v.graph)) for v in some] for slot, some in variants(spec).items()}
    costs = {c: {s: tuple(float(getattr(cost, c)) for _, cost in some) for s, some in found.items()} for c in COSTS}
    labels = {slot: tuple(label for label, _ in some) for slot, some in found.items()}
    scores = {slot: (0.0,) * len(some) for slot, some in found.items()}
    most = limits(budget, {name: total(graph) for name, graph in graphs.items()})
    return Additive(scores, costs, fixed(graphs[host], spec.split), most, labels)


def _limit(name: str, said: Any, costs: Mapping[str, Cost]) -> float:
    if name not in COSTS:
        raise RecipeError(f"there is no budget for '{name}'", hint=near(name, COSTS) or "budgets: params, flops")
    if isinstance(said, str):
        said = evaluate(parse(said, None), {model: getattr(cost, name) for model, cost in costs.items()})
    if isinstance(said, bool) or not isinstance(said, int | float) or said <= 0:
        raise RecipeError(f"the budget of '{name}' must be a number above 0, not {said!r}")
    return float(said)


def _place(spec: RunSpec, phase: str, key: str) -> Any:
    body = spec.document.tree.get("phases").get(phase)
    return body.get(key).span if isinstance(body, Map) and key in body else None
