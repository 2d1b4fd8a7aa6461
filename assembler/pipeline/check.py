"""Everything that is wrong with a recipe of any kind, without torch. Models are checked in `wiring.lint`."""

from __future__ import annotations

from assembler.errors import Problem
from assembler.recipe.document import Document
from assembler.recipe.notes import in_order, note_all
from assembler.wiring.lint import lint


def check(document: Document) -> list[Problem]:
    """What is wrong with a loaded recipe (`load(..., strict=False)`), each mistake once, in the order of the file."""
    problems = lint(document)
    tree = document.tree
    # What a recipe does not have is not imported: an editor asks at every stroke.
    if document.kind == "run":
        from assembler.pipeline.check_run import RunCheck

        note_all(problems, RunCheck(document, sound=not problems).problems())
    elif "search" in tree:
        from assembler.pipeline.check_run import search_problems

        note_all(problems, search_problems(tree.get("search")))
    if "claims" in tree:
        from assembler.pipeline.claims.check import problems as claims

        note_all(problems, claims(document, check, sound=not problems))
    return in_order(problems, str(document.file or ""))
