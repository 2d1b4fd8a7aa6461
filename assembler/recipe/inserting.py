"""Steps that a change puts in the midst: `{after: mix, op: layer_norm}` stands behind `mix` and is read instead."""

from __future__ import annotations

from typing import TypeGuard

from assembler.errors import Problem, RecipeError, Span, near
from assembler.recipe.edits import AFTER, is_new
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice

BEGIN = "input"
"""What `after:` calls the value that enters: the new step is the first one."""


def comes_after(value: Value) -> TypeGuard[Map]:
    """Whether a change is a step to be put behind another."""
    named = isinstance(value, Map) and isinstance(said := value.get(AFTER), Leaf) and isinstance(said.value, str)
    return named and is_new(value) and not is_choice(value)


def inserted(steps: Map, name: str, value: Map, span: Span | None) -> Map:
    """The steps with `name` behind the one that its `after:` says; what read that one reads the new step.

    Raises RecipeError where there is none.
    """
    said, step = value.get(AFTER), value.drop(AFTER)
    if said.value not in (BEGIN, *steps.keys()):
        hint = near(said.value, steps.keys()) or f"there are {', '.join(steps.keys())}, or {BEGIN} to be the first"
        raise RecipeError(Problem(f"no step '{said.value}' stands here", said.span, hint=hint))
    spans = steps.key_spans or (None,) * len(steps)
    written = list(zip(steps.items, spans, strict=True))
    at = 0 if said.value == BEGIN else steps.keys().index(said.value) + 1
    behind = [((key, _read(inner, said.value, name)), place) for (key, inner), place in written[at:]]
    items, places = zip(*written[:at], ((name, step), span), *behind, strict=True)
    return Map(items, steps.span, places)


def _read(step: Value, old: str, new: str) -> Value:
    """A step that reads `new` where it read `old`; steps inside of it too, unless one of them is called `old`."""
    if not isinstance(step, Map):
        return step
    body = step.get("body")
    if isinstance(body, Map) and old not in (BEGIN, *body.keys()):
        step = step.set("body", body.over(tuple(_read(inner, old, new) for _, inner in body)))
    return step.set("from", read_instead(step.get("from"), old, new)) if "from" in step else step


def read_instead(value: Value, old: str, new: str) -> Value:
    """What a step reads by `from:`, or an output, with one name for another."""
    match value:
        case Leaf(value=text) if text == old:
            return Leaf(new, value.span)
        case Seq():
            return Seq(tuple(read_instead(item, old, new) for item in value), value.span)
        case Map():
            return value.over(tuple(read_instead(item, old, new) for _, item in value))
    return value
