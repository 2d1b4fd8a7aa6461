"""Whether two models are or compute the same, a model the same twice, and weights are what they were."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from assembler.checks.subject import Subject, Weights
from assembler.checks.values import difference
from assembler.compile.lower import lower
from assembler.compile.mapping import mapped
from assembler.errors import RecipeError
from assembler.graph.diff import diff
from assembler.graph.structure import pack
from assembler.graph.values import covers
from assembler.registry import check
from assembler.rewrites.drive import rewritten
from assembler.rewrites.spec import orders


@check(values=("of",), changes=("change",), recipes=("recipe",))
def same_function(
    model: Subject,
    *,
    change: dict[str, Any] | None = None,
    recipe: str = "",
    rewrite: list[str | dict[str, Any]] | None = None,
    map: dict[str, Any] | None = None,
    of: str = "",
    theirs: str = "",
) -> float:
    """The largest difference between a value of this model and the same of another for the same inputs.

    The other is this recipe with changes by path, another `recipe` (with changes), or this model after rewrites. Its
    weights are this model's under the same names, those of a weights map {other's: this one's} by its rules; without a
    map, what this model has not begins as it would. `theirs` is the other's value, if it has another name.
    """
    of = model.first(of)
    if not (change or recipe or rewrite):
        raise RecipeError("the check 'same_function' needs another model", hint="change: {vars.k: 4}")
    own = lower(model.graph, seed=model.seed).state_dict() if model.weights is None else dict(model.weights)
    graph, weights = model.graph, own
    if change or recipe:
        assert model.other is not None
        graph = model.other(change or {}, recipe)
        fresh = lower(graph, seed=model.seed).state_dict()
        weights = mapped(map, own, fresh, namesakes=True) if map else {**fresh, **_shared(own, fresh)}
    for one in orders(rewrite or ()):
        exact = {k: t.double() if t.is_floating_point() else t for k, t in weights.items()}
        graph, made = rewritten(graph, one.rewrite, exact, one.at)
        weights = made or {}
    inputs = model.inputs()
    other = Subject(graph, model.seed, model.setup, weights)
    return difference(model.value(of, inputs), other.value(theirs or (of if of in _known(other) else ""), inputs))


@check(changes=("change",), recipes=("recipe",), paths=("besides",))
def edits(
    model: Subject,
    *,
    change: dict[str, Any] | None = None,
    recipe: str = "",
    besides: str | list[str] | None = None,
) -> int:
    """How many steps, inputs and outputs are added, removed or others in this recipe with changes, or in a `recipe`.

    Those at and under the paths `besides` do not count. Weights are not compared.
    """
    if not (change or recipe):
        raise RecipeError("the check 'edits' needs another model", hint="change: {block.mixer: identity}")
    assert model.other is not None
    found = diff(model.graph, model.other(change or {}, recipe))
    paths = [besides] if isinstance(besides, str) else besides or []
    places = {path for path, _ in (*found.added, *found.removed, *found.changed)}
    return sum(not any(covers(one, path) for one in paths) for path in places)


def _known(model: Subject) -> set[str]:
    return {*model.plain.nodes, *model.plain.names, *dict(model.plain.outputs)}


def _shared(own: Weights, fresh: Weights) -> dict[str, Tensor]:
    return {k: own[k] for k, t in fresh.items() if k in own and own[k].shape == t.shape}


@check(values=("of",))
def randomness(model: Subject, *, of: str = "") -> float:
    """The largest difference between two forward passes with other random numbers: 0 for a deterministic model."""
    of = model.first(of)
    return difference(model.value(of, noise=0), model.value(of, noise=1))


@check(paths=("of",))
def state_change(model: Subject, *, of: str | list[str] | None = None, since: str = "") -> float:
    """The largest change of weights and buffers, all or those under the paths `of`.

    It is the change since a phase of the run (or `since: start`) where one is named, else that by a forward pass.
    """
    paths = [of] if isinstance(of, str) else of
    if since:
        if model.state is None or model.weights is None:
            raise RecipeError("'since' compares with a phase of a run", hint="of a model alone, leave it out")
        before, after = model.state(since), model.weights
    else:
        module = model.module()[0]
        before = {k: t.clone() for k, t in module.state_dict().items()}
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            module(**pack((n, t) for n, t in model.inputs().items() if n in model.plain.input_names))
        after = {k: t.clone() for k, t in module.state_dict().items()}
        module.load_state_dict(before)
    names = [k for k in after if paths is None or any(covers(p, k) for p in paths)]
    if not names:
        raise RecipeError(f"{' and '.join(map(repr, paths or []))} has no weights or buffers")
    missing = [k for k in names if k not in before or before[k].shape != after[k].shape]
    return float("inf") if missing else max(difference(after[k], before[k]) for k in names)
