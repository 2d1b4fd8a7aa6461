"""Budgets of assemblies: what a run's search may spend, and whether anything fits, told before anything is trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from assembler import resources
from assembler.assemble.similar import any_fits
from assembler.assemble.spliced import splice
from assembler.errors import GraphError, InputError, RecipeError, near
from assembler.graph.core import Graph
from assembler.graph.edit import extract
from assembler.infer.shape import shapes
from assembler.pipeline.checking.rewrites import candidates, taken_from
from assembler.pipeline.rewriting import planned
from assembler.pipeline.search.costs import ADDITIVE, BUDGETED, costs_of, latencies
from assembler.pipeline.slots import Variant, in_host, variants
from assembler.pipeline.spec import Phase, RunSpec
from assembler.recipe.choices.where import COSTS
from assembler.recipe.document import beside, changed, entries
from assembler.recipe.expressions import evaluate, parse
from assembler.recipe.values import Leaf, Map, marked
from assembler.rewrites.shorten import shallow
from assembler.search.exact import Additive, BudgetError, solve
from assembler.search.linear import bounded
from assembler.wiring.build import build

Seated = Mapping[str, tuple[Variant, ...]]
"""The variants of every slot as they stand in a host."""


def limits(
    budget: Mapping[str, Any], graphs: Mapping[str, Graph], steps: dict[str, float] | None = None
) -> dict[str, float]:
    """The budgets as numbers; an expression (`=0.5 * teacher`) is over the costs of the models made so far.

    `steps` is a table of latencies. Raises RecipeError for a cost that there is not, or a limit that is none.
    """
    return {name: _limit(name, said, graphs, steps) for name, said in budget.items()}


def fixed(
    host: Graph, slots: tuple[str, ...], wanted: Collection[str] = BUDGETED, steps: dict[str, float] | None = None
) -> dict[str, float]:
    """What a model costs outside its slots."""
    types, whole = shapes(host), costs_of(host, wanted, steps)
    inside = [costs_of(extract(host, slot, types), wanted, steps) for slot in slots]
    return {name: whole[name] - sum(one[name] for one in inside) for name in wanted}


@dataclass(frozen=True)
class Which:
    """The model of a phase: the run's as it is written, or that of another recipe, with `changes` (path -> value).

    With `blocks` every slot of the run keeps so many of each of its repeated blocks.
    """

    changes: Map | Mapping[str, Any] | None = None
    model: str | None = None
    blocks: int | None = None

    @staticmethod
    def of(phase: Phase) -> Which:
        """What a phase says."""
        return Which(phase.changes or None, phase.options.get("model"), phase.options.get("blocks"))


OWN = Which()
"""The run's model as it is written."""


def model_of(spec: RunSpec, which: Which = OWN) -> Graph:
    """The graph of the model of a phase."""
    graph = build(tree_of(spec, which), name=spec.name)
    if which.blocks is None:
        return graph
    if not spec.split:
        raise InputError("a model of so many 'blocks' a slot needs slots", hint="name them in the run's split:")
    return shallow(graph, spec.split, which.blocks)


def tree_of(spec: RunSpec, which: Which = OWN) -> Map:
    """The recipe of the model of a phase."""
    model = beside(spec.document, Leaf(which.model)).default if which.model else spec.document.default
    return changed(model, entries(marked(which.changes))) if which.changes else model


def check(spec: RunSpec) -> None:
    """Raise BudgetError, at the budget's place in the recipe, where no assembly of a run can meet it.

    Raises InputError where a host does not fit the slots.
    """
    graphs: dict[str, Graph] = {}
    seated: Seated = {}
    host = "meta"
    for phase in spec.phases:
        kind = phase.entry.name
        if phase.has_recipe:
            graphs[phase.name] = model_of(spec, Which.of(phase))
        elif kind == "rewrite" and (source := graphs.get(str(phase.options["of"]))) is not None:
            _plan(spec, phase.name, source, phase.options["apply"], graphs)
        elif kind == "splice":
            _splice(spec, phase.name, phase.options, graphs)
        elif phase.entry.option("makes") == "model" and kind != "rewrite":  # of the graph of the first that it reads
            of = phase.options.get("of")
            if (first := of[0] if isinstance(of, list) and of else of) in graphs:
                graphs[phase.name] = graphs[first]
        elif kind == "incubate":
            host = str(phase.options.get("host", host))
            if host in graphs and spec.split:
                seated = in_host(graphs[host], host, variants(spec))
        elif kind == "search" and _of_parts(phase.options) and seated:
            _fits(spec, phase, graphs, host, seated)


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


def _splice(spec: RunSpec, phase: str, options: Mapping[str, Any], graphs: dict[str, Graph]) -> None:
    """Note what a model will be once it has slots of others, where weights do not tell which steps are nearest."""
    said = options["take"].items()
    take = {slot: taken_from(one, slot) for slot, one in said if isinstance(one, str)}
    near = {slot: candidates(one) for slot, one in said if not isinstance(one, str)}
    if not graphs.keys() >= {
        options["of"],
        *(name for name, _ in take.values()),
        *(n for one in near.values() for n in one),
    }:
        return
    host = graphs[options["of"]]
    try:
        for slot, names in near.items():
            any_fits(host, slot, {name: graphs[name] for name in names})
        made = splice(host, {slot: (graphs[name], path) for slot, (name, path) in take.items()})
        graphs |= {} if near else {phase: made}
    except GraphError as error:
        raise error.at(_place(spec, phase, "take", error.problems[0].path)) from None


def _fits(spec: RunSpec, phase: Phase, graphs: Mapping[str, Graph], host: str, seated: Seated) -> None:
    """Raise BudgetError where no assembly is within the budget and the constraints that are linear in costs."""
    budget = phase.options.get("budget") or {}
    if not budget and not any(rule.costs for rule in spec.space.where):
        return
    try:
        with latencies(resources.store_home()) as steps:
            solve(bounded(_problem(spec, graphs, host, seated, budget, steps), spec.space.where))
    except (BudgetError, RecipeError) as error:
        where = spec.document.model.get("where")
        shares = [f"{name}: ={said:g} * {host}" for name, said in budget.items() if _share(name, said)]
        error = (
            type(error)([replace(p, hint=f"did you mean {', '.join(shares)}?") for p in error.problems])
            if shares
            else error
        )
        raise error.at(_place(spec, phase.name, "budget") if budget or where is None else where.span) from None


def _share(name: str, said: Any) -> bool:
    """Whether a number that is to bound a count looks like a share of it."""
    return name != "latency" and isinstance(said, int | float) and 0 < said <= 1


def _problem(
    spec: RunSpec,
    graphs: Mapping[str, Graph],
    host: str,
    seated: Seated,
    budget: Mapping[str, Any],
    steps: dict[str, float],
) -> Additive:
    """What the parts will cost; latency is measured here where it is bounded, each step once, as the search does."""
    wanted = tuple(dict.fromkeys((*BUDGETED, *(name for name in budget if name in ADDITIVE))))
    found = {slot: [(v.label, costs_of(v.graph, wanted, steps)) for v in some] for slot, some in seated.items()}
    costs = {c: {s: tuple(cost[c] for _, cost in some) for s, some in found.items()} for c in wanted}
    labels = {slot: tuple(label for label, _ in some) for slot, some in found.items()}
    scores = {slot: (0.0,) * len(some) for slot, some in found.items()}
    return Additive(
        scores, costs, fixed(graphs[host], spec.split, wanted, steps), limits(budget, graphs, steps), labels
    )


def _limit(name: str, said: Any, graphs: Mapping[str, Graph], steps: dict[str, float] | None) -> float:
    if name not in COSTS:
        hint = near(name, COSTS) or f"budgets: {', '.join(COSTS)}"
        raise RecipeError(f"there is no budget for '{name}'", hint=hint)
    if isinstance(said, str):
        tree = parse(said, None)
        read = {model: costs_of(graphs[model], (name,), steps)[name] for model in graphs if model in tree.names}
        said = evaluate(tree, {**dict.fromkeys(graphs, 0.0), **read})
    if isinstance(said, bool) or not isinstance(said, int | float) or said <= 0:
        raise RecipeError(f"the budget of '{name}' must be a number above 0, not {said!r}")
    return float(said)


def _place(spec: RunSpec, phase: str, *keys: str) -> Any:
    """Where the recipe writes an option of a phase, or what that has under a further key, if it does."""
    found: Any = spec.document.tree.get("phases").get(phase)
    for key in keys:
        found = found.get(key) if isinstance(found, Map) and key in found else found
    return found.span if found is not None else None
