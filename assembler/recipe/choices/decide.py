"""The recipe that a choice makes."""

from __future__ import annotations

from collections.abc import Mapping

from assembler.recipe.choices.decision import Pick
from assembler.recipe.choices.labels import labels
from assembler.recipe.paths import join
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice


def decide(tree: Map, choice: Mapping[str, Pick]) -> Map:
    """The recipe with every decision in `choice` made; those that it does not mention stay open.

    Moves are no part of it: they rewrite the graph that the recipe gives.
    """
    made = decided(tree, "", choice)
    assert isinstance(made, Map)
    return made


def decided(value: Value, path: str, choice: Mapping[str, Pick]) -> Value:
    """Like `decide`, for the value at a path of a recipe."""
    if isinstance(value, Seq):
        items = tuple(decided(v, join(path, str(i)), choice) for i, v in enumerate(value))
        return value if all(a is b for a, b in zip(items, value.items, strict=True)) else Seq(items, value.span)
    if not isinstance(value, Map):
        return value
    if is_choice(value):
        return _pick(value, path, choice)
    items_ = tuple((k, decided(v, join(path, k), choice)) for k, v in value.items)
    if all(a[1] is b[1] for a, b in zip(items_, value.items, strict=True)):
        return value
    return Map(items_, value.span, value.key_spans)


def _pick(value: Map, path: str, choice: Mapping[str, Pick]) -> Value:
    if path not in choice:
        return value
    pick = choice[path]
    key = next(k for k in value.keys() if k.startswith("$"))
    if key in ("$int", "$float"):
        return Leaf(pick if not isinstance(pick, tuple) else None, value.span)
    candidates = value.get(key)
    assert isinstance(candidates, Seq)
    named = labels(candidates)
    if isinstance(pick, tuple):
        made = (decided(candidates.items[c], f"{path}.{p}[{named[c]}]", choice) for p, c in enumerate(pick))
        return Seq(tuple(made), value.span)
    index = int(pick)
    return decided(candidates.items[index], f"{path}[{named[index]}]", choice)
