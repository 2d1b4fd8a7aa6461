"""Objectives and tasks of a run read vars of its model and call its blocks: what that comes to, by phase."""

from __future__ import annotations

from assembler.errors import RecipeError
from assembler.recipe.borrowed import with_borrowed
from assembler.recipe.document import changed, entries
from assembler.recipe.values import Map, Seq, Value


def in_phase(body: Map, model: Map) -> Map:
    """A phase's options, its objective, task and turns with what they read of the model, as the phase changes it.

    Raises RecipeError for an expression that cannot be evaluated.
    """
    try:
        model = changed(model, entries(body.get("set")))
    except RecipeError:  # told where the changes are checked
        return body
    for key in ("objective", "task"):
        if key in body:
            body = body.set(key, with_borrowed(body.get(key), model))
    turns = body.get("turns")
    return body.set("turns", Seq(tuple(_turn(t, model) for t in turns), turns.span)) if isinstance(turns, Seq) else body


def _turn(turn: Value, model: Map) -> Value:
    if not isinstance(turn, Map) or "objective" not in turn:
        return turn
    return turn.set("objective", with_borrowed(turn.get("objective"), model))
