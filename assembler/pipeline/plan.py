"""What a recipe comes to before anything is trained: shapes, parameters, FLOPs, the space, the work of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from assembler.compile.checkpoints import HUB
from assembler.compile.lower import check_begins
from assembler.errors import RecipeError
from assembler.graph.core import Graph, TensorType
from assembler.graph.edit import cut
from assembler.infer.batch import Sizes, batch_sizes
from assembler.infer.cost import Cost, costs, measured, total
from assembler.pipeline.checking import budgets
from assembler.pipeline.checking import fits as check_fits
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.slots import variants
from assembler.pipeline.spec import RunSpec
from assembler.pipeline.weights import beginning
from assembler.pipeline.weights.loading import check_there, told
from assembler.recipe.choices import Space
from assembler.recipe.document import Document
from assembler.report.terminal import PlanRow
from assembler.search.distinct import architectures
from assembler.wiring.build import build, left_out
from assembler.wiring.lint import lint


@dataclass(frozen=True)
class SlotPlan:
    """One slot: its variants by label, with parameters and FLOPs."""

    name: str
    variants: tuple[tuple[str, Cost], ...]


@dataclass(frozen=True)
class Plan:
    """A planned recipe. `space_size` is None where a float makes the space countless, 1 where nothing is open.

    `allowed` of its choices meet the constraints on decisions, and they make so many `architectures`; None where that
    is not told quickly. `where` are the constraints that have to be met besides, for each graph; `moves` the rewrites
    that may be made of it, which no number counts. `unchecked` is why the models were not compared with the data;
    `left_out` are the steps that containers give out and nothing reads, which the model is without.
    `weights` says what a changed imported model begins with.
    """

    name: str
    rows: tuple[PlanRow, ...]
    cost: Cost
    fingerprint: str
    space_size: int | None
    slots: tuple[SlotPlan, ...] = ()
    phases: tuple[str, ...] = ()
    parts: int = 0
    split: str = ""
    allowed: int | None = None
    architectures: int | None = None
    where: tuple[str, ...] = ()
    moves: tuple[str, ...] = ()
    unchecked: str = ""
    left_out: tuple[str, ...] = ()
    weights: str = ""

    def data(self) -> dict[str, Any]:
        """The plan as plain data, for `--json`."""
        return {
            "recipe": self.name,
            "params": self.cost.params,
            "flops": self.cost.flops,
            "fingerprint": self.fingerprint,
            "steps": len(self.rows),
            "space_size": self.space_size,
            "allowed": self.allowed,
            "architectures": self.architectures,
            "where": list(self.where),
            "moves": list(self.moves),
            "left_out": list(self.left_out),
            "weights": self.weights,
            "slots": [{"name": s.name, "variants": [label for label, _ in s.variants]} for s in self.slots],
            "assemblies": math.prod(len(s.variants) for s in self.slots) if self.slots else None,
            "split": self.split,
            "phases": list(self.phases),
            "parts": self.parts,
        }


def plan_model(document: Document) -> Plan:
    """The plan of a model or a space. What is laid out is the model as written, a space's choices left aside."""
    graph = build(document.default, name=document.name)
    types = measured(graph)
    candidates = Candidates(document.model, document.name)
    _check(document, candidates.space, graph, types)
    candidates.begin()
    found = candidates.space.unmoved
    plan = Plan(document.name, _rows(graph, types), total(graph, types), graph.fingerprint, found.size)
    weights = told(document.default, document.folder, graph)
    plan = replace(plan, left_out=left_out(document.default), weights=weights)
    if not candidates.space.decisions:
        return plan
    plan = replace(plan, architectures=architectures(found, candidates.fingerprint))
    return _bounded(plan, candidates.space)


def plan_run(spec: RunSpec) -> Plan:
    """The plan of a run: its model, every slot's variants, how many parts are to be trained.

    Raises GraphError where a slot cannot be cut, RecipeError where a choice lies in no slot or a model fits neither
    the data nor its objective, BudgetError where no assembly meets the budget.
    """
    graph = build(spec.document.default, name=spec.name)
    for slot in spec.split:
        cut(graph, slot)
    found = tuple(
        SlotPlan(slot, tuple((v.label, total(v.graph)) for v in slot_variants))
        for slot, slot_variants in (variants(spec) if spec.split else {}).items()
    )
    budgets.check(spec)
    unchecked = check_fits.check(spec, read=False)
    phases = tuple(phase.name for phase in spec.phases)
    parts = sum(len(s.variants) for s in found) * len(spec.seeds)
    types = measured(graph)
    _check(spec.document, spec.space, graph, types)
    rows, cost, size = _rows(graph, types), total(graph, types), spec.space.unmoved.size
    plan = Plan(spec.name, rows, cost, graph.fingerprint, size, found, phases, parts, spec.split_how)
    if not any(str(place.file).startswith(HUB) for place in beginning.places_of(spec)):
        beginning.check(spec)
    plan = replace(plan, unchecked=unchecked, left_out=left_out(spec.document.default))
    return _bounded(plan, spec.space) if spec.space.decisions else plan


def _check(document: Document, space: Space, graph: Graph, types: Mapping[str, TensorType]) -> None:
    """Raise what building the model of this graph would, of its initial weights, and what is wrong with choices."""
    check_begins(graph, types)
    check_there(document.default, document.folder)
    if space.decisions and (problems := lint(document)):
        raise RecipeError(problems)


def _bounded(plan: Plan, space: Space) -> Plan:
    """The plan with what the constraints leave of the space, and its moves."""
    return replace(
        plan,
        allowed=space.unmoved.count(),
        where=tuple(rule.text for rule in space.where if rule.costs),
        moves=space.moves.labels if space.moves else (),
    )


def _rows(graph: Graph, types: Mapping[str, TensorType]) -> tuple[PlanRow, ...]:
    spent, sizes = costs(graph, types), batch_sizes(graph, types)
    return tuple(
        PlanRow(i, node.op, _shape(sizes[i], types[i]), spent[i].params, spent[i].flops)
        for i, node in graph.nodes.items()
    )


def _shape(sizes: Sizes | None, kind: TensorType) -> str:
    """A shape in terms of the batch `B`; a `?` behind it says that this is the one for the recipe's own batch."""
    return f"[{', '.join(map(str, kind.shape if sizes is None else sizes))}]{'?' if sizes is None else ''}"
