"""`assembler lint`: everything that is wrong with recipes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from assembler.cli.lint import lint as check
from assembler.cli.options import Overrides

Recipes = Annotated[list[str], typer.Argument(metavar="RECIPE...", help="Recipe files or shipped names.")]


def lint(recipe: Recipes, override: Overrides = None) -> dict[str, Any]:
    """Check recipes: syntax, names, arguments, wiring.

    Everything is checked that can be told without making a tensor. All problems of all files are shown at once, with
    place and hint. Exit code 2 if there is one.

    \b
        assembler lint quickstart
        assembler lint my/model.yaml my/run.yaml
    """
    return check(recipe, override)
