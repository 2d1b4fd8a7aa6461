"""What is wrong with what makes the trials of a `search:` cheaper: screen, pruner, supernet; without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from assembler import registry
from assembler.errors import Problem, RecipeError
from assembler.pipeline.given import arguments, registered
from assembler.recipe.values import Leaf, Map, Value, plain


def cheaper(search: Map) -> Iterator[Problem]:
    """The problems of what makes trials cheaper, each at its place."""
    if (screen := search.get("screen")) is not None and plain(screen) is not None:
        yield from _screen(screen)
    if (prune := search.get("prune")) is not None and plain(prune) is not None:
        yield from registered("pruner", prune, "name")
        yield from _objectives(search, prune)
    mode = plain(search.get("mode") or Leaf("trials"))
    if (supernet := search.get("supernet")) is not None and plain(supernet) is not None:
        from assembler.train.supernet import SupernetSpec  # what a recipe does not have is not imported

        yield from _section("supernet", supernet, lambda given: SupernetSpec(**given), "{train: spos, epochs: 10}")
        if mode in ("trials", "inherit"):
            hint = "write mode: supernet beside it"
            yield Problem(f"'supernet' is for mode: supernet, not {mode}", search.key_span("supernet"), hint=hint)
    if mode == "supernet" and prune is not None:
        said = "with mode: supernet no trial is trained, so that none can be pruned"
        yield Problem(said, search.key_span("prune"))


def _screen(screen: Value) -> Iterator[Problem]:
    from assembler.search.screenspec import PREDICTOR, ScreenSpec  # as above

    yield from _section("screen", screen, lambda given: ScreenSpec(**{"by": "", **given}), "{by: synflow, keep: 0.25}")
    by = screen.get("by") if isinstance(screen, Map) else None
    if by is not None and plain(by) != PREDICTOR:
        yield from registered("proxy", by, "name")


def _section(name: str, value: Value, make: Callable[[dict[str, Any]], object], example: str) -> Iterator[Problem]:
    """The problems of a mapping of settings: of its keys and types, then of each value by itself."""
    if not isinstance(value, Map):
        yield Problem(f"'{name}' must be a mapping", value.span, hint=f"for instance {example}")
        return
    found = list(arguments(registry.settings(name), value, value.span))
    yield from found
    for key, given in value:
        if not any(f"'{key}'" in p.message for p in found):
            try:
                make({key: plain(given)})
            except RecipeError as error:
                yield from error.at(given.span).problems


def _objectives(search: Map, prune: Value) -> Iterator[Problem]:
    """A pruner has to take as many objectives as there are."""
    goals = search.get("objectives")
    name = plain(prune.get("name") or Leaf("")) if isinstance(prune, Map) else plain(prune)
    entry = registry.find("pruner", str(name))
    if entry and isinstance(goals, Map) and len(goals) > 1 and not entry.option("multi", False):
        said = f"pruner '{name}' follows one objective, not {len(goals)}"
        yield Problem(said, search.key_span("prune"), hint="use dominance")
