"""`stage.*.block.x` to one path a copy: the `*` of a path stands for every copy of a repeated step, or list item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from assembler.errors import Problem, RecipeError, Span, near
from assembler.recipe.edits import copies, graph_text, text_paths
from assembler.recipe.expand import expand
from assembler.recipe.paths import check, get
from assembler.recipe.repeats import DEPTH
from assembler.recipe.scope import OPEN
from assembler.recipe.steps import Step
from assembler.recipe.values import Map, Seq


def spread(tree: Map, path: str, span: Span | None = None) -> list[str]:
    """The concrete paths that a path with `*` stands for; the path itself where it has none.

    Raises RecipeError where nothing is repeated at a `*`. Mistakes elsewhere in the recipe do not matter here.
    """
    if "*" not in path.split("."):
        return [path]
    if graph_text(tree):
        return _spread_text(tree, path, span)
    check(tree, path, span)
    found = [""]
    laid_out: list[str] | None = None
    noted: list[Problem] = []
    for part in path.split("."):
        if part != "*":
            found = [f"{p}.{part}" if p else part for p in found]
            continue
        if laid_out is None:
            laid_out = [] if path.startswith("vars.") else list(_paths(expand(tree, noted)))
        found = [f"{p}.{n}" for p in found for n in _copies(tree, p, laid_out)]
    if not found and any(p.message != OPEN for p in noted):  # what else is wrong with the recipe may be why
        raise RecipeError(noted)
    if not found and noted and _repeated(tree, path):
        said = f"how many copies '{path}' stands for depends on a choice, which is open"
        raise RecipeError(Problem(said, span, hint=DEPTH))
    if not found:
        hint = "a '*' stands for the copies of a step with 'for' or 'repeat', or the items of a list"
        raise RecipeError(Problem(f"'{path}' matches no copy of anything", span, hint=hint))
    return found


def _repeated(tree: Map, path: str) -> bool:
    """Whether what stands before a `*` of a path is a step with `for` or `repeat`."""
    parts = path.split(".")
    before = (".".join(p for p in parts[:i] if p != "*") for i, part in enumerate(parts) if part == "*")
    return any(isinstance(at := get(tree, one), Map) and ("for" in at or "repeat" in at) for one in before)


def _spread_text(tree: Map, path: str, span: Span | None) -> list[str]:
    """The paths in a graph's text that a path with `*` stands for."""
    found = [""]
    for part in path.split("."):
        numbers = {p: copies(tree, p) if part == "*" else [part] for p in found}
        found = [f"{p}.{n}" if p else n for p in found for n in numbers[p]]
    if not found:
        before = path.partition("*")[0].rstrip(".")
        known = [p for p in text_paths(graph_text(tree)) if copies(tree, p)]
        hint = near(f"{before}.*", [f"{p}.*" for p in known])
        hint = hint or (f"there are numbers behind {', '.join(known[:4])}" if known else "")
        raise RecipeError(Problem(f"'{path}' matches nothing: no numbers stand behind '{before}'", span, hint=hint))
    return found


def _copies(tree: Map, prefix: str, laid_out: Iterable[str]) -> list[str]:
    value = get(tree, prefix)
    if isinstance(value, Seq):
        return [str(i) for i in range(len(value))]
    parts = prefix.split(".")
    found: dict[str, None] = {}
    for path in laid_out:
        rest = _after(parts, path.split("."))
        if rest and rest[0].isdigit():
            found[rest[0]] = None
    return sorted(found, key=int)


def _after(parts: list[str], path: list[str]) -> list[str] | None:
    """What follows `parts` in a path; copy numbers that `parts` leaves out are passed over."""
    at = 0
    for part in parts:
        while at < len(path) and path[at] != part and path[at].isdigit():
            at += 1
        if at >= len(path) or path[at] != part:
            return None
        at += 1
    return path[at:]


def _paths(steps: Iterable[Step]) -> Iterator[str]:
    for step in steps:
        yield step.path
        yield from _paths(step.body)
        yield from _paths(step.shortcut)
