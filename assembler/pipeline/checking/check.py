"""Everything that is wrong with a recipe of any kind, without torch. Models are checked in `wiring.lint`."""

from __future__ import annotations

from collections.abc import Iterator

from assembler.errors import Problem
from assembler.recipe.choices import space
from assembler.recipe.document import Document
from assembler.recipe.notes import in_order, note_all
from assembler.recipe.scope import vars_of
from assembler.recipe.values import Leaf, Map, plain
from assembler.wiring.lint import lint

MOST_COMBINATIONS = 1_000
"""Of the decisions that constraints read, so many are looked at for a contradiction; an editor waits for it."""


def _space(document: Document) -> Iterator[Problem]:
    """What is wrong with constraints and moves, beside what reading them tells."""
    from assembler.recipe.choices.where import unreadable

    found = space(document.model, [])
    unread = list(unreadable(found.where, found.covering()))
    yield from unread
    if not unread and (problem := found.contradiction(MOST_COMBINATIONS)):
        yield problem
    if found.moves:
        from assembler.rewrites.spec import moves_problems

        yield from moves_problems(document.model.get("moves"))


def left_out(document: Document) -> str:
    """What the search of a sound recipe does not do, though the recipe says it; "" where there is nothing."""
    search = document.tree.get("search")
    if "moves" not in document.model or not isinstance(search, Map):
        return ""
    from assembler.search.samplers import left_out as unmoved

    return unmoved(plain(search.get("sampler") or Leaf("tpe")), space(document.model, []))


def check(document: Document) -> list[Problem]:
    """What is wrong with a loaded recipe (`load(..., strict=False)`), each mistake once, in the order of the file."""
    problems = lint(document)
    tree = document.tree
    # What a recipe does not have is not imported: an editor asks at every stroke.
    if document.kind == "run":
        from assembler.pipeline.checking.run import RunCheck

        note_all(problems, RunCheck(document, sound=not problems).problems())
    elif "search" in tree:
        from assembler.pipeline.checking import search

        note_all(problems, search.section(tree.get("search"), space(document.model, []), vars_of(document.default)))
    if "where" in document.model or "moves" in document.model:
        note_all(problems, _space(document))
    if "claims" in tree:
        from assembler.pipeline.claims.check import problems as claims

        note_all(problems, claims(document, check, sound=not problems))
    return in_order(problems, str(document.file or ""))
