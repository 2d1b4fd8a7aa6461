"""Overrides, the `path=value` of `-o`: read as YAML, with places that show the text as it was typed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from assembler.errors import Problem, RecipeError, Span
from assembler.recipe.read import read_text
from assembler.recipe.values import Leaf, Map, Seq, Value

FILE = "-o"
_HEAD = "value: "


@dataclass(frozen=True)
class Change:
    """A value to put at a path (which may hold `*`), and where the path is written."""

    path: str
    value: Value
    span: Span | None = field(default=None, compare=False)


def override(text: str) -> Change:
    """The change that `path=value` asks for (`vars.dim=96`, `stage.block.mixer={op: pool}`). Raises RecipeError."""
    path, sign, value = text.partition("=")
    start = len(path) + len(sign)
    name = path.strip()
    span = Span(FILE, 1, path.find(name) + 1, text, max(1, len(name)))
    if not sign or not name:
        hint = "write -o path=value, for instance -o vars.dim=96"
        raise RecipeError(Problem(f"'{text}' is not an override", span, hint=hint))
    try:
        found = read_text(f"{_HEAD}{value}\n" if value.strip() else f"{_HEAD}null\n", FILE).get(_HEAD[:-2])
    except RecipeError as error:
        moved = [replace(p, span=_moved(p.span, text, start)) for p in error.problems]
        raise RecipeError(moved) from None
    return Change(name, _placed(found, text, start), span)


def _moved(span: Span | None, text: str, start: int) -> Span | None:
    if span is None or span.line != 1:
        return span
    return replace(span, column=max(1, span.column - len(_HEAD) + start), text=text)


def _placed(value: Value, text: str, start: int) -> Value:
    """The value with the places of its parts counted in the text of the whole override."""
    span = _moved(value.span, text, start)
    match value:
        case Leaf():
            return Leaf(value.value, span)
        case Seq():
            return Seq(tuple(_placed(v, text, start) for v in value), span)
        case Map():
            items = tuple((k, _placed(v, text, start)) for k, v in value)
            return Map(items, span, tuple(_moved(s, text, start) for s in value.key_spans))
