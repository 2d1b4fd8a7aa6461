"""`assembler fmt`: recipes in the canonical form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.guard import AnswerError
from assembler.errors import AssemblerError, Problem, RecipeError

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recipe files.", show_default=False)]
Check = Annotated[bool, typer.Option("--check", help="Change nothing; exit code 1 if a file is not canonical.")]


def fmt(file: Files, check: Check = False) -> dict[str, Any]:
    """Rewrite recipe files in the canonical form. Comments stay, and a file is rewritten whole or not at all.

    A file that is wrong is left as it is and its problems are shown; the others are formatted all the same.

    \b
        assembler fmt my/model.yaml
        assembler fmt --check recipes/*.yaml
    """
    from assembler.compile.files import whole
    from assembler.recipe.files import load_text
    from assembler.recipe.write import format_source

    changed: list[str] = []
    problems: list[Problem] = []
    for path in file:
        try:
            text = load_text(path)
            found = format_source(text, str(path))
            if found == text:
                continue
            changed.append(str(path))
            if not check:
                with whole(path.resolve()) as temporary:
                    temporary.write_text(found, encoding="utf-8", newline="")
                    temporary.chmod(path.stat().st_mode)
        except AssemblerError as error:
            problems += error.problems
    for name in changed:
        say.line(f"{'would format' if check else 'formatted'} {name}")
    if problems:
        raise RecipeError(problems)
    data = {"changed": changed, "unchanged": len(file) - len(changed)}
    if check and changed:
        raise AnswerError(data)
    return data
