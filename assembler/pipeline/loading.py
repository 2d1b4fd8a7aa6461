"""Weights for a built model: those of a file that the user names, or of the one that its recipe names."""

from __future__ import annotations

from pathlib import Path

from assembler.compile.checkpoints import HUB, read_checkpoint
from assembler.compile.mapping import mapped, unread
from assembler.compile.model import Compiled
from assembler.compile.weights import fill
from assembler.errors import Problem, RecipeError
from assembler.recipe.values import Map
from assembler.recipe.weights import Weights, weights_of


def load_into(module: Compiled, model: Map, folder: Path, given: str | Path | None = None) -> None:
    """Fill `module` with the weights `given` (a file, a folder, `hf:org/name`), else with those that its recipe
    names, if it names any; `folder` is the recipe's.

    Names are mapped by the recipe's weights map, unless they are the module's own. `module.meta["unread"]` are the
    names in the weights that the model has no use for. Raises InputError for what is missing or of a wrong shape.
    """
    section = weights_of(model) or Weights()
    source = given if given is not None else _own(section, folder)
    if source is None:
        return
    theirs, ours = read_checkpoint(source), module.state_dict()
    if section.map is None or theirs.keys() == ours.keys():
        fill(module, theirs, str(source))
        return
    fill(module, mapped(section.map, theirs, ours), str(source))
    module.meta["unread"] = tuple(unread(section.map, theirs, ours))


def _own(section: Weights, folder: Path) -> str | Path | None:
    """The place that a recipe names, which may not lie outside of its folder."""
    if not section.file or section.file.startswith(HUB):
        return section.file or None
    place = folder / section.file
    if Path(section.file).is_absolute() or not place.resolve().is_relative_to(folder.resolve()):
        hint = "use a file at or below the recipe's own folder, or --weights"
        raise RecipeError(Problem(f"a recipe may not reach '{section.file}'", section.span, hint=hint))
    return place
