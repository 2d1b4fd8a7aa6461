"""Sections of a recipe held against the signatures of what they configure, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from assembler import registry
from assembler.errors import AssemblerError, Problem, RecipeError, Span, near
from assembler.recipe.scope import Scope, settled
from assembler.recipe.values import Leaf, Map, Value, plain
from assembler.registry import Entry, checks


def registered(kind: str, value: Value, key: str, beside: tuple[str, ...] = ()) -> Iterator[Problem]:
    """What is wrong with `name` or `{name: ..., arguments}` for a registered thing; keys `beside` are no arguments."""
    if not isinstance(value, Map):
        value = Map(((key, value),), value.span, (value.span,))
    said = value.get(key)
    if not isinstance(said, Leaf) or not isinstance(said.value, str):
        place = said.span if said is not None else value.span
        known = ", ".join(registry.names(kind)[:6])
        yield Problem(f"a {kind} needs '{key}', the name of one", place, hint=f"for instance {known}")
        return
    from assembler.train.terms import loss_entry  # what a recipe does not have is not imported

    try:
        entry = loss_entry(said.value) if kind == "loss" else registry.lookup(kind, said.value)
    except AssemblerError as error:
        yield from error.at(said.span).problems
        return
    yield from arguments(entry, value.drop(key, *beside), value.span, (key, *beside))


def arguments(entry: Entry, value: Map, span: Span | None, beside: tuple[str, ...] = ()) -> Iterator[Problem]:
    """What is wrong with a mapping as the arguments of a registered thing; keys `beside` are no arguments."""

    def place(name: str) -> Span | None:
        found = value.get(name)
        return found.span if found is not None else None

    for p in checks.problems(entry, plain(value), value.key_span, place, span=span):
        other = near(p.message.split("'")[-2], beside) if " has no " in p.message else ""
        yield replace(p, hint=other) if other else p


def training(value: Value | None, names: Scope | None = None) -> Iterator[Problem]:
    """What is wrong with a `train:` section; of a search, whose expressions read vars, with these `names`."""
    if value is None:
        return
    if names is not None:
        try:
            value = settled(value, names)
        except RecipeError as error:
            yield from error.problems
            return
    if not isinstance(value, Map):
        yield Problem("'train' must be a mapping", value.span, hint="for instance {epochs: 10, lr: 1e-3}")
        return
    from assembler.train.spec import FitSpec  # as above

    found = list(arguments(registry.settings("train"), value, value.span))
    yield from found
    for name, given in value:
        if any(f"'{name}'" in p.message for p in found):
            continue
        try:
            FitSpec(**{name: plain(given)})
        except RecipeError as error:
            yield from error.at(given.span).problems
    if (optimizer := value.get("optimizer")) is not None and isinstance(optimizer, Map | Leaf):
        yield from registered("optimizer", optimizer, "name")


def metric(value: Value) -> Iterator[Problem]:
    """What is wrong with the name of a metric."""
    from assembler.train.terms import metrics  # as above

    known = metrics()
    if plain(value) not in known:
        hint = near(str(plain(value)), known) or "there are " + ", ".join(known)
        yield Problem(f"unknown metric {checks.shown(plain(value))}", value.span, hint=hint)
