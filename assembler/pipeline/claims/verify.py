"""`claims:` measured: every claim of a recipe, what was found, and whether it holds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assembler import resources
from assembler.assemble.runner import Event, Runner
from assembler.assemble.store import Store
from assembler.assemble.task import Task
from assembler.errors import AssemblerError, InputError, Problem, RecipeError
from assembler.infer.shape import shapes
from assembler.pipeline.cards import about
from assembler.pipeline.checking.check import check
from assembler.pipeline.claims import spec
from assembler.pipeline.claims.arms import Arm, arm_runs, compare
from assembler.pipeline.claims.exact import Number, measured
from assembler.pipeline.claims.runs import Workshop, runs, trained
from assembler.pipeline.claims.spec import BATCH, VALUE, Claim
from assembler.pipeline.run import default_workers
from assembler.pipeline.spec import RunSpec
from assembler.recipe.document import Document, load
from assembler.recipe.expressions import evaluate
from assembler.recipe.scope import vars_of
from assembler.train.device import resolve
from assembler.wiring.build import build

Specs = Mapping[str, RunSpec]
"""Runs by the arm that they are of."""


@dataclass(frozen=True)
class Verdict:
    """What came of a claim. `values` are those of an exact claim by seed; `arms` the arms of a comparison.

    `held` tells for how many seeds alone the expectation holds; `reason` why nothing could be compared.
    """

    claim: str
    doc: str
    expect: str
    holds: bool
    measures: str
    seeds: tuple[int, ...]
    values: tuple[Number, ...] = ()
    arms: tuple[Arm, ...] = ()
    held: int = 0
    reason: str = ""
    seconds: float = 0.0

    @property
    def finite(self) -> bool:
        """Whether all numbers found are finite: an expectation about others never holds."""
        return all(map(_finite, [*self.values, *(value for arm in self.arms for value in arm.values)]))

    def data(self) -> dict[str, Any]:
        """The verdict as plain data."""
        told = {"claim": self.claim, "doc": self.doc, "measures": self.measures, "expect": self.expect}
        found: dict[str, Any] = {**told, "holds": self.holds, "seeds": list(self.seeds), "seeds_holding": self.held}
        found |= {"values": list(self.values)} if self.values else {"arms": [arm.data() for arm in self.arms]}
        return {**found, "reason": self.reason, "seconds": round(self.seconds, 3)}


def verify(
    source: str | Path | Document,
    *overrides: str,
    claims: Sequence[str] = (),
    workers: int | None = None,
    device: str = "auto",
    on_event: Callable[[Event], None] | None = None,
    on_phase: Callable[[str], None] | None = None,
    on_tasks: Callable[[list[Task]], None] | None = None,
    on_verdict: Callable[[Verdict], None] | None = None,
) -> list[Verdict]:
    """Measure the claims of a recipe, all or those named; what the parts store holds already is not trained again.

    Raises RecipeError for a wrong recipe or claim, InputError for one that has none.
    """
    document = source if isinstance(source, Document) else load(source, overrides)
    if problems := check(document):
        raise RecipeError(problems)
    wanted = spec.named(spec.claims_of(document), list(claims))
    if not wanted:
        raise InputError(
            f"'{document.name}' has no claims", hint='claims: {size: {doc: ..., check: params, expect: "< 1e6"}}'
        )
    specs = _specs(document, wanted)
    found = []
    with ExitStack() as stack:
        store = Store(resources.store_home())
        runner = Runner(store, workers or default_workers(), on_event, describe=about)
        shop = Workshop(runner, str(resolve(device)), on_phase, on_tasks)
        entered = False
        for claim in wanted:
            if not entered and (claim.arms or claim.model):
                stack.enter_context(runner)
                entered = True
            found.append(_verdict(document, claim, specs[claim.name], shop))
            if on_verdict:
                on_verdict(found[-1])
    return found


def _specs(document: Document, wanted: Sequence[Claim]) -> dict[str, Specs]:
    """The runs that claims train, by arm. Raises all that is wrong with them, before anything is trained."""
    found: dict[str, Specs] = {}
    problems: list[Problem] = []
    for claim in wanted:
        try:
            if claim.arms:
                found[claim.name] = arm_runs(document, claim)
            elif claim.model:
                found[claim.name] = runs({"": spec.at(document, claim)}, claim, claim.seeds or (0,))
            else:
                found[claim.name] = {}
        except AssemblerError as error:
            problems += error.at(claim.span).problems
    if problems:
        raise RecipeError(list(dict.fromkeys(problems)))
    return found


def _verdict(document: Document, claim: Claim, specs: Specs, shop: Workshop) -> Verdict:
    begin = time.monotonic()
    try:
        made = _compared(document, claim, specs, shop) if claim.arms else _exact(document, claim, specs, shop)
    except AssemblerError as error:
        raise error.at(claim.span) from error
    return replace(made, seconds=time.monotonic() - begin)


def _exact(document: Document, claim: Claim, specs: Specs, shop: Workshop) -> Verdict:
    assert claim.measure is not None
    changed, seeds = spec.at(document, claim), claim.seeds or (0,)
    if claim.model:
        state = shop.planned(next(iter(specs.values())))
        values = [measured(changed, claim.measure, seed, trained(state, claim.model, seed)) for seed in seeds]
    else:
        values = [measured(changed, claim.measure, seed) for seed in seeds]
    names = {**vars_of(changed.default), BATCH: claim.measure.batch or _batch(changed)}
    held = sum(_holds(claim, {**names, VALUE: value}) for value in values)
    name, holds = claim.measure.check, held >= (claim.holding or len(seeds))
    return Verdict(claim.name, claim.doc, claim.said, holds, name, seeds, tuple(values), held=held)


def _batch(document: Document) -> int:
    graph = build(document.default, name=document.name)
    types = shapes(graph)
    return next((types[n].shape[0] for n in graph.input_names if types[n].shape), 1)


def _compared(document: Document, claim: Claim, specs: Specs, shop: Workshop) -> Verdict:
    found = compare(document, claim, specs, shop)
    head = (claim.name, claim.doc, claim.said)
    if found.reasons:
        return Verdict(*head, False, found.metric, found.seeds, reason="; ".join(found.reasons))
    names = dict(vars_of(document.default))
    in_means = _holds(claim, {**names, **{arm.name: arm.mean for arm in found.arms}})
    held = sum(
        _holds(claim, {**names, **{arm.name: arm.values[i] for arm in found.arms}}) for i in range(len(found.seeds))
    )
    holds = held >= claim.holding if claim.holding else in_means
    return Verdict(*head, holds, found.metric, found.seeds, arms=found.arms, held=held)


def _holds(claim: Claim, names: Mapping[str, Any]) -> bool:
    """Whether the expectation is true; it is not where something that it reads is not finite."""
    return all(_finite(names[name]) for name in claim.expect.names) and bool(evaluate(claim.expect, names))


def _finite(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(math.isfinite(n) for n in numbers if isinstance(n, float))
