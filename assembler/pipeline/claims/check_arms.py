"""What is wrong with a claim that compares arms: their changes, the metric, the budget, the training."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from dataclasses import replace

from assembler.errors import AssemblerError, Problem, RecipeError, near
from assembler.pipeline.checking.objectives import objective
from assembler.pipeline.claims import spec
from assembler.pipeline.claims.check_measure import Around, changes, measure
from assembler.pipeline.claims.check_models import other_model
from assembler.pipeline.claims.spec import COSTS, EXACT, SPLITS, TRAINING
from assembler.recipe.borrowed import with_borrowed
from assembler.recipe.operators import FUNCTIONS
from assembler.recipe.values import Leaf, Map, Value, plain
from assembler.registry import checks
from assembler.train.terms import metrics

BUDGETS = ("flops", "steps")
EQUAL = ("meta", "teacher", "train", "tune", "rewrite", "merge", "export")
"""Kinds of phases whose training can be made longer or shorter, so that arms spend equal FLOPs."""
_EXAMPLE = "for instance {small: {vars.dim: 32}, large: {vars.dim: 64}}"
_SEARCHED = "a metric of a space is a check, for instance {check: found, objective: 0 - params, trials: 20}"
_METRICS = (
    "for instance test.accuracy, validation.loss, params, or {split: test, loss: mse, value: logits, target: label}"
)


def arms(name: str, body: Map, around: Around) -> Iterator[Problem]:
    """What is wrong with a claim about arms, but for its expectation."""
    value = body.get("arms")
    if not isinstance(value, Map) or not len(value):
        yield Problem("'arms' must be a mapping of names to changes", value.span, hint=_EXAMPLE)
        return
    found = list(_metric(body, around))
    yield from found
    yield from _budget(body, around)
    runs, problems = _as_run(name, body, around)
    yield from problems
    if not problems:
        yield from _changes(value, runs)


def _changes(value: Map, around: Around) -> Iterator[Problem]:
    for arm, said in value:
        span = value.key_span(arm)
        if not arm.isidentifier() or keyword.iskeyword(arm) or arm in FUNCTIONS:
            yield Problem(f"an arm cannot be called '{arm}'", span, hint="an expectation could not read it")
        if said == Leaf(None):
            continue
        if isinstance(said, Map):
            for problem in changes(said, around):
                yield replace(problem, message=f"as arm '{arm}' has it, {problem.message}")
        else:
            yield Problem(f"arm '{arm}' must be a mapping of paths to values", said.span, hint=_EXAMPLE)


def _as_run(name: str, body: Map, around: Around) -> tuple[Around, list[Problem]]:
    """The run that the arms are trained by, and what is wrong with it."""
    document = around.document
    if document.kind == "run" or not around.models.sound:
        return around, []
    if "data" not in body:
        if _trains(body):
            said = f"claim '{name}' trains its arms, and a model has no data"
            said = (
                said if document.kind == "model" else f"claim '{name}' would train arms, which that of a space cannot"
            )
            place = body.get("metric").span if "metric" in body else body.key_span("arms")
            hint = "data: digits and train: {epochs: 10} beside them" if document.kind == "model" else _SEARCHED
            return around, [Problem(said, place, hint=hint)]
        return around, []
    claim = spec.Claim("", "", "", spec.expectation("0 < 1"), arms=(("", ()),), training=_training(body))
    run = spec.as_run(document, claim)
    try:
        return replace(around, document=run), around.models.again(run)
    except AssemblerError as error:
        return around, list(error.problems)


def _training(body: Map) -> Map:
    return Map(tuple((key, body.get(key)) for key in TRAINING if key in body))


def _trains(body: Map) -> bool:
    """Whether the metric is one of trained models."""
    metric = body.get("metric", Leaf(""))
    if isinstance(metric, Map):
        return "check" not in metric or "model" in body
    return plain(metric) not in COSTS[:2]


def _metric(body: Map, around: Around) -> Iterator[Problem]:
    value: Value | None = body.get("metric")
    if value is None:
        return
    if isinstance(value, Map) and "check" in value:
        yield from measure(value, around, value.span, EXACT)
    elif isinstance(value, Map):
        split = value.get("split")
        if split is None or plain(split) not in SPLITS:
            yield Problem("a metric of values needs 'split'", (split or value).span, hint="split: test")
        try:
            said = with_borrowed(value.drop("split"), around.document.default)
        except RecipeError as error:
            yield from error.problems
            return
        made = _made(around)
        scene = replace(around.scene, averaged=False, models=made, changed=frozenset(made))
        yield from objective(
            said, replace(scene, graph=None) if other_model(around.document, body.get("model")) else scene
        )
    else:
        yield from _word(str(plain(value)), value)


def _made(around: Around) -> tuple[str, ...]:
    """The phases of a run whose models a metric may compare with."""
    phases = around.document.tree.get("phases") if around.document.kind == "run" else None
    return tuple(phases.keys()) if isinstance(phases, Map) else ()


def _word(said: str, value: Value) -> Iterator[Problem]:
    split, dot, metric = said.partition(".")
    known = [*COSTS, *(f"{s}.{m}" for s in SPLITS for m in metrics())]
    if said in known:
        return
    if dot and split in SPLITS:
        yield Problem(
            f"unknown metric '{metric}'",
            value.span,
            hint=near(metric, metrics()) or "there are " + ", ".join(metrics()),
        )
        return
    yield Problem(f"unknown metric {checks.shown(plain(value))}", value.span, hint=near(said, known) or _METRICS)


def _budget(body: Map, around: Around) -> Iterator[Problem]:
    value = body.get("budget")
    said = plain(value) if value is not None else BUDGETS[0]
    if said not in BUDGETS:
        hint = (
            near(str(said), BUDGETS) or "flops: all arms train for equal FLOPs; steps: for as long as the recipe says"
        )
        yield Problem(f"there is no budget {checks.shown(said)}", value.span if value else None, hint=hint)
        return
    phases = around.document.tree.get("phases") if around.document.kind == "run" else None
    for name, phase in phases if isinstance(phases, Map) and said == "flops" and _trains(body) else ():
        kind = str(plain(phase.get("phase", Leaf(name)))) if isinstance(phase, Map) else name
        if kind not in EQUAL:
            what = f"arms of a run with a phase '{kind}' cannot be given equal FLOPs"
            yield Problem(what, (value or body.get("arms")).span, hint="budget: steps takes the recipe's own lengths")
            return
