"""What steps beside a model, of an objective or a claim, take from its recipe: the vars and blocks that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from assembler.recipe.scope import resolve, settled, vars_of
from assembler.recipe.values import Leaf, Map, Seq, Value, marked

SECTIONS = ("vars", "blocks")


def borrowed(steps: Value, model: Map) -> Map:
    """`vars` and `blocks` of a model that the steps name, blocks by way of others too; vars with their values.

    Raises RecipeError for a var that has none.
    """
    section = model.get("blocks")
    known = section if isinstance(section, Map) else Map()
    used = _used(steps, known)
    blocks = known.drop(*(name for name in known.keys() if name not in used))
    scope = vars_of(model)
    words = {word for text in _texts((steps, blocks)) if text.startswith("=") for word in re.findall(r"\w+", text)}
    values = tuple((name, marked(resolve(Leaf(f"={name}"), scope))) for name in scope if name in words)
    return Map((("vars", Map(values)), ("blocks", blocks)))


def with_borrowed(objective: Value, model: Map) -> Value:
    """An objective or task with the expressions of its terms evaluated, and beside its steps what they take of a model.

    Raises RecipeError for an expression that cannot be evaluated.
    """
    if not isinstance(objective, Map) or not {"terms", "graph"} & set(objective.keys()):
        return settled(objective, vars_of(model))
    found = objective
    if "terms" in found:
        found = found.set("terms", settled(found.get("terms"), vars_of(model)))
    for name, section in borrowed(found.get("graph", Map()), model):
        found = found.set(name, section) if section != Map() else found
    return found


def _used(steps: Value, blocks: Map) -> set[str]:
    """The names of the blocks that steps call, and those that these call."""
    used, fresh = set[str](), {text for text in _texts((steps,)) if text in blocks}
    while fresh:
        used |= fresh
        fresh = {text for name in fresh for text in _texts((blocks.get(name),)) if text in blocks} - used
    return used


def _texts(values: tuple[Value, ...]) -> Iterator[str]:
    """Every string in recipe values."""
    for value in values:
        match value:
            case Leaf(value=str() as text):
                yield text
            case Seq():
                yield from _texts(value.items)
            case Map():
                yield from _texts(tuple(inner for _, inner in value))
