"""Exact claims: a check called on the model, once for each seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from assembler import registry
from assembler.checks.openings import Openings, Score
from assembler.checks.subject import BEFORE, Setup, Subject
from assembler.compile.lower import lower
from assembler.errors import AssemblerError, RecipeError, StepError
from assembler.graph.core import Graph
from assembler.pipeline.claims.spec import Measure, evaluated
from assembler.pipeline.rewriting import all_applied
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.weights.loading import load_into, places
from assembler.recipe.borrowed import borrowed
from assembler.recipe.document import Document, beside, varied
from assembler.recipe.overrides import Change
from assembler.recipe.scope import vars_of
from assembler.recipe.values import Leaf, Map, marked, plain
from assembler.rewrites.spec import orders
from assembler.train.data.core import load, load_test
from assembler.train.spec import named_data
from assembler.train.spread import spread
from assembler.wiring.build import build

SAMPLES = 64
"""How many real samples a check is given where its claim does not say."""
State = Callable[[str], Mapping[str, Tensor]]
Number = int | float | list[int] | list[float]


@dataclass(frozen=True)
class Trained:
    """A model that a run has made: its graph, its weights, those of other phases by name, and its data.

    `paths` are the steps that its phase has trained, none where it trained all.
    """

    graph: Graph
    weights: Mapping[str, Tensor]
    state: State
    data: Mapping[str, Any]
    paths: tuple[str, ...] = ()


def measured(
    document: Document, measure: Measure, seed: int, trained: Trained | None = None, *, worth: Score | None = None
) -> Number:
    """What a check returns for the model of a recipe, as built with a seed or as trained; `worth` is what choices are.

    Raises RecipeError where the check cannot be made, with what it says.
    """
    entry = registry.lookup("check", measure.check)
    args = plain(evaluated(measure.args, vars_of(document.default)))
    subject = subject_of(document, measure, seed, trained)
    subject = replace(subject, opened=lambda: _openings(document, worth))
    try:
        found = entry.load()(subject, **args)
    except StepError as error:
        what = error.problems[0].message
        hint = "precision: float32" if "dtype" in what and measure.precision == "float64" else ""
        raise RecipeError(f"the check '{measure.check}' cannot run the model: {what}", hint=hint) from error
    except AssemblerError:
        raise
    except Exception as error:  # torch's own words about an axis or a shape: they are about what the claim asks for
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecipeError(f"the check '{measure.check}' cannot be made: {reason}") from error
    return found  # type: ignore[no-any-return]


def subject_of(document: Document, measure: Measure, seed: int, trained: Trained | None = None) -> Subject:
    """The model of a recipe as checks know it."""
    graph = trained.graph if trained else build(document.default, name=document.name)
    setup = Setup(
        "train" if measure.mode == "train" else "eval",
        torch.float32 if measure.precision == "float32" else torch.float64,
        measure.inputs if isinstance(measure.inputs, Mapping) else {},
        _samples(document, measure, trained) if isinstance(measure.inputs, str) else None,
        measure.batch or None,
    )
    weights = trained.weights if trained else _begun(document, graph, seed)
    state = trained.state if trained else None
    paths = trained.paths if trained else ()
    found = Subject(graph, seed, setup, weights, _other(document), state, trained=paths)
    if measure.after:
        found = _after(found, measure.after)
    known = {} if found.before is None else {BEFORE: found.before.graph}
    written = plain(measure.steps)
    said: Any = spread({"graph": written}, found.graph, known)
    steps = measure.steps if said["graph"] == written else marked(said["graph"], measure.steps.span)  # with its places
    assert isinstance(steps, Map)
    return replace(found, setup=replace(setup, steps=steps, beside=borrowed(steps, document.default)))


def _after(model: Subject, wanted: Sequence[Any]) -> Subject:
    """A model after rewrites, computed exactly, that knows what it was before them."""
    state = lower(model.graph, seed=model.seed).state_dict() if model.weights is None else model.weights
    exact = {k: t.double() if t.is_floating_point() else t for k, t in state.items()}
    graph, weights = all_applied(model.graph, orders(wanted), exact)
    return replace(model, graph=graph, weights=weights, before=model, _made={})


def _openings(document: Document, worth: Score | None) -> Openings:
    sampler = plain(document.tree.get("search", Map())).get("sampler", "tpe")
    return Openings(document, sampler, lambda wanted: Candidates(document.model, document.name, wanted).cost, worth)


def _begun(document: Document, graph: Graph, seed: int) -> dict[str, Tensor] | None:
    """The weights that a recipe begins with, where it names any."""
    if not places(document.default, document.folder):
        return None
    module = lower(graph, seed=seed)
    load_into(module, document.default, document.folder)
    return dict(module.state_dict())


def _samples(document: Document, measure: Measure, trained: Trained | None) -> dict[str, Tensor]:
    spec = named_data(trained.data if trained else plain(document.tree.get("data", Map())))
    if not spec:
        raise RecipeError("the check is to be made on real samples, and a model has no data", hint="say it in a run")
    found = load_test(spec) if measure.inputs == "test" else getattr(load(spec), str(measure.inputs))
    return dict(found.head(measure.batch or SAMPLES).fields)


def _other(document: Document) -> Callable[[Mapping[str, Any], str], Graph]:
    def graph(changes: Mapping[str, Any], recipe: str) -> Graph:
        found = beside(document, Leaf(recipe)) if recipe else document
        changed = varied(found, [Change(path, marked(value)) for path, value in changes.items()])
        return build(changed.default, name=changed.name)

    return graph
