"""What is wrong with the claims of a recipe, told without torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from assembler.errors import Problem, RecipeError, Span, near
from assembler.pipeline.checking.scene import Scene
from assembler.pipeline.claims import spec
from assembler.pipeline.claims.check_measure import Around, measure
from assembler.pipeline.claims.check_models import Check, Models, added, other_model
from assembler.pipeline.claims.spec import ARMS, COMMON, EXACT, TRAINING
from assembler.recipe.document import Document
from assembler.recipe.scope import vars_of
from assembler.recipe.values import Leaf, Map, Value, plain
from assembler.registry import checks

EXAMPLE = 'for instance {doc: As published., check: params, expect: "== 11689512"}'


def problems(document: Document, again: Check, *, sound: bool) -> Iterator[Problem]:
    """What is wrong with the section; `again` checks a whole recipe, `sound` says that the rest of this one is."""
    section = document.tree.get("claims")
    if section is None or section == Leaf(None):
        return
    if not isinstance(section, Map):
        yield Problem("'claims' must be a mapping of names to claims", section.span, hint=EXAMPLE)
        return
    models = Models(again, sound)
    for name, body in section:
        if isinstance(body, Map):
            yield from _Claim(document, name, body, section.key_span(name), models).problems()
        else:
            yield Problem(f"claim '{name}' must be a mapping", body.span, hint=EXAMPLE)


class _Claim:
    """Checks one claim."""

    def __init__(self, document: Document, name: str, body: Map, span: Span | None, models: Models) -> None:
        self.document, self.name, self.body, self.span = document, name, body, span
        self.models = models

    def problems(self) -> Iterator[Problem]:
        if ("check" in self.body) is ("arms" in self.body):
            said = "both 'check' and 'arms'" if "check" in self.body else "neither 'check' nor 'arms'"
            yield Problem(f"claim '{self.name}' has {said}", self.span, hint=EXAMPLE)
            return
        yield from self.common()
        around = Around(self.document, self.scene(), self.models)
        if "check" in self.body:
            yield from measure(self.body, around, self.span, (*COMMON, *EXACT))
            yield from self.names([spec.VALUE, spec.BATCH])
        else:
            from assembler.pipeline.claims.check_arms import arms  # few recipes have them

            yield from self.keys()
            yield from arms(self.name, self.body, around)
            found = self.body.get("arms")
            yield from self.names(found.keys() if isinstance(found, Map) else [])

    def keys(self) -> Iterator[Problem]:
        known = (*COMMON, *ARMS, *(TRAINING if self.document.kind == "model" else ()))
        for key in self.body.keys():
            if key not in known:
                hint = near(key, known) or f"it takes {', '.join(known)}"
                yield Problem(f"a claim about arms has no '{key}'", self.body.key_span(key), hint=hint)

    def common(self) -> Iterator[Problem]:
        doc = self.body.get("doc")
        if doc is None or not isinstance(plain(doc), str):
            said = f"claim '{self.name}' needs 'doc', what it is about in words"
            yield Problem(said, doc.span if doc is not None else self.span, hint=EXAMPLE)
        yield from seeds(self.body.get("seeds"))
        yield from _holding(self.body.get("seeds_holding"), self.body.get("seeds"))
        yield from self.model(self.body.get("model"))
        yield from self.at(self.body.get("at"))

    def model(self, value: Value | None) -> Iterator[Problem]:
        """What is wrong with the phase whose model is measured."""
        if value is None:
            return
        phases = self.document.tree.get("phases") if self.document.kind == "run" else None
        known = [*phases.keys()] if isinstance(phases, Map) else (["train"] if "data" in self.body else [])
        known += self.added()
        if plain(value) not in known:
            said = f"no phase of the run is called {checks.shown(plain(value))}"
            hint = near(str(plain(value)), known) or (f"phases: {', '.join(known)}" if known else "a model has none")
            yield Problem(said, value.span, hint=hint)

    def added(self) -> list[str]:
        """The phases that the claim's changes add to the run."""
        arms = self.body.get("arms", Map())
        return added([self.body.get("at", Map()), *((c for _, c in arms) if isinstance(arms, Map) else ())])

    def at(self, value: Value | None) -> Iterator[Problem]:
        if value is None:
            return
        if not isinstance(value, Map):
            yield Problem("'at' must be a mapping of paths to values", value.span, hint="for instance {vars.dim: 32}")
            return
        for problem in self.models.changed(self.document, value)[1]:
            yield replace(problem, message=f"as claim '{self.name}' has it, {problem.message}")

    def scene(self) -> Scene:
        """What a check may read: the values of the model as the claim changes it."""
        changes = self.body.get("at", Map())
        # What rewrites make of it takes torch, and the model of a phase may have other values.
        known = isinstance(changes, Map) and "after" not in self.body
        known = known and not other_model(self.document, self.body.get("model"))
        return Scene(self.models.changed(self.document, changes)[0] if known else None)

    def names(self, own: list[str]) -> Iterator[Problem]:
        """What is wrong with the expectation; it may read `own` and the vars."""
        value = self.body.get("expect")
        text = plain(value) if value is not None else None
        if not isinstance(text, str):
            place = value.span if value is not None else self.span
            said = f"claim '{self.name}' needs 'expect', a comparison"
            hint = 'for instance expect: "<= 1e-5"' if spec.VALUE in own else f"for instance expect: {_arms_hint(own)}"
            yield Problem(said, place, hint=hint)
            return
        try:
            found = spec.expectation(text, value.span)
        except RecipeError as error:
            yield from error.at(value.span).problems
            return
        if not _is_comparison(found.tree):
            yield Problem("an expectation is a comparison", value.span, hint='for instance expect: "<= 1e-5"')
        known = [*own, *vars_of(self.document.default)]
        for name in sorted(found.names - {*known}):
            hint = near(name, known) or f"it may read {', '.join(own)} and the recipe's vars"
            yield Problem(f"the expectation reads '{name}', which is nothing here", _within(value, name), hint=hint)


def _arms_hint(arms: list[str]) -> str:
    return f"{arms[0]} >= {arms[1]} - 0.01" if len(arms) > 1 else '"a >= b - 0.01"'


def _within(value: Value, name: str) -> Span | None:
    """Where a name stands in the text of an expectation."""
    span = value.span
    found = span.text.find(name, span.column - 1) if span else -1
    return replace(span, column=found + 1, width=len(name)) if span and found >= 0 else span


def _is_comparison(tree: ast.expr | None) -> bool:
    match tree:
        case ast.BoolOp(values=values):
            return all(map(_is_comparison, values))
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return _is_comparison(inner)
        case _:
            return isinstance(tree, ast.Compare)


def seeds(value: Value | None) -> Iterator[Problem]:
    """What is wrong with the seeds of a claim."""
    said: Any = plain(value) if value is not None else 1
    whole = type(said) is int and said > 0
    listed = isinstance(said, list) and bool(said) and all(type(s) is int and s >= 0 for s in said)
    if not whole and not (listed and len(set(said)) == len(said)):
        hint = "for instance 3, or [0, 1, 2]"
        yield Problem(
            "'seeds' must be how many, or a list of different numbers", value.span if value else None, hint=hint
        )


def _holding(value: Value | None, among: Value | None) -> Iterator[Problem]:
    """What is wrong with how many seeds alone a claim has to hold for."""
    said, several = plain(value) if value is not None else 1, plain(among) if among is not None else None
    most = len(several) if isinstance(several, list) else several if type(several) is int else 0
    if value is not None and not (type(said) is int and 0 < said <= most):
        hint = "for instance seeds: 10 and seeds_holding: 7"
        yield Problem("'seeds_holding' must be how many of the claim's seeds", value.span, hint=hint)
