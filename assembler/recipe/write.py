"""Values to canonical YAML, for `assembler fmt` and lock files: reading the text gives the values back.

Mappings are blocks; what holds only scalars (or lists of them) and fits on the line is written inline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from assembler.errors import RecipeError
from assembler.recipe.comments import Notes, note_positions
from assembler.recipe.quoting import key_text, number_text, string_text
from assembler.recipe.read import MAX_DEPTH, Reader
from assembler.recipe.scalars import bad_key, bad_number, bad_string, shortened
from assembler.recipe.values import Leaf, Map, Scalar, Seq, Value

WIDTH = 110
_INDENT = "  "
_LEAST_FOLDED = 40
_CONSTANTS = {None: "null", True: "true", False: "false"}

Place = tuple[int, ...]


def to_yaml(value: Map, *, width: int = WIDTH) -> str:
    """Canonical text of `value`; `read_text` of it gives `value` back, and equal values give equal text.

    Raises RecipeError for what a recipe file cannot hold: control characters, NaN, infinities, integers over 64 bits.

    >>> print(to_yaml(Map((("op", Leaf("conv2d")), ("args", Map((("out", Leaf(64)), ("bias", Leaf("on")))))))), end="")
    op: conv2d
    args: {out: 64, bias: "on"}
    """
    if not value.items:
        return "{}\n"
    return "\n".join(_Writer(width).top(value)) + "\n"


def format_source(text: str, file: str, *, width: int = WIDTH) -> str:
    """The canonical text of a recipe file with its comments and single blank lines kept.

    Raises RecipeError where the file is wrong, where it uses YAML anchors (the values would be copied), and where a
    comment stands in a place that the canonical form does not have.
    """
    reader = Reader(text, file, notes=True)
    value = reader.read()
    for name, anchor in reader.anchors.items():
        raise RecipeError(
            f"the anchor &{shortened(name)} would be lost in the canonical form",
            hint="share values with `vars:` and steps with `blocks:`",
        ).at(anchor.span)
    notes = note_positions(reader, value)
    if not value.items:
        return "\n".join([*notes.foot, "{}"]) + "\n"
    lines = _Writer(width, notes).top(value)
    while lines and not lines[0]:
        lines.pop(0)
    result = "\n".join([*lines, *notes.foot]) + "\n"
    _assert_kept(value, notes, result, file)
    return result


def _assert_kept(value: Map, notes: Notes, result: str, file: str) -> None:
    reader = Reader(result, file, notes=True)
    again = reader.read()
    if again != value or sorted(note_positions(reader, again).texts) != sorted(notes.texts):
        raise RecipeError(f"{file} cannot be formatted without losing a comment", hint="move comments onto own lines")


@dataclass(frozen=True)
class _Writer:
    """Renders values as lists of lines; `notes` holds comments by the place (indexes from the top) they belong to."""

    width: int
    notes: Notes = field(default_factory=Notes)

    def top(self, value: Map) -> list[str]:
        return list(self._block(value, (), 0))

    def _block(self, value: Map | Seq, place: Place, indent: int) -> Iterator[str]:
        """The lines of a mapping's or list's entries, without the outer indentation."""
        if len(place) >= MAX_DEPTH:
            raise RecipeError(f"values are nested more than {MAX_DEPTH} deep")
        if isinstance(value, Map):
            _check_keys(value)
        for index, item in enumerate(value.items):
            inner = (*place, index)
            lines = self._entry(item, inner, indent) if isinstance(item, tuple) else self._item(item, inner, indent)
            yield from self._noted(lines, inner)

    def _noted(self, lines: list[str], place: Place) -> Iterator[str]:
        yield from self.notes.heads.get(place, ())
        if place in self.notes.tails:
            first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
            lines[first] += "  " + self.notes.tails[place]
        yield from lines
        yield from self.notes.feet.get(place, ())

    def _entry(self, item: tuple[str, Value], place: Place, indent: int) -> list[str]:
        key, value = item
        name = key_text(key, flow=False) + ":"
        inline = self._inline(value, place, indent + len(name) + 1)
        if inline is not None:
            return [f"{name} {inline}"]
        if isinstance(value, Leaf):
            return self._text_block(f"{name} ", str(value.value), indent)
        inner = self._block(value, place, indent + len(_INDENT))
        return [name, *(_INDENT + line if line else line for line in inner)]

    def _item(self, value: Value, place: Place, indent: int) -> list[str]:
        inline = self._inline(value, place, indent + 2)
        if inline is not None:
            return [f"- {inline}"]
        if isinstance(value, Leaf):
            return self._text_block("- ", str(value.value), indent)
        lines = list(self._block(value, place, indent + len(_INDENT)))
        first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
        shifted = [_INDENT + line if line else line for line in lines[first + 1 :]]
        return [*lines[:first], f"- {lines[first]}", *shifted]

    def _inline(self, value: Value, place: Place, column: int) -> str | None:
        """The text of `value` on one line from `column` on, or None where it needs a block."""
        if isinstance(value, Leaf):
            return None if _is_long(value, self.width - column) else _scalar(value.value, flow=False)
        if not value.items:
            return "{}" if isinstance(value, Map) else "[]"
        if self.notes.inside(place) or not _is_simple(value):
            return None
        text = _flow(value)
        return text if column + len(text) <= self.width else None

    def _text_block(self, head: str, text: str, indent: int) -> list[str]:
        """A long or many-lined string as a folded or literal block."""
        keep = "" if text.endswith("\n") else "-"
        if "\n" in text.removesuffix("\n"):
            lines = text.removesuffix("\n").split("\n")
            return [f"{head}|{keep}", *(_INDENT + line if line else line for line in lines)]
        room = max(_LEAST_FOLDED, self.width - indent - len(_INDENT))
        return [f"{head}>{keep}", *(_INDENT + line for line in _folded(text.removesuffix("\n"), room))]


def _is_simple(value: Map | Seq, levels: int = 4) -> bool:
    """Whether `value` may stand inline: scalars, lists of them, and choices (`{$int: [1, 6]}`) among them.

    A mapping of nothing but choices is a space: it reads better with one to a line.
    """
    if levels == 0:
        return False
    if isinstance(value, Map) and value.items and all(isinstance(v, Map) and _is_choice(v) for _, v in value):
        return False
    if isinstance(value, Seq):
        return all(_is_word(v) or (isinstance(v, Seq) and _is_simple(v, levels - 1)) for v in value)
    return all(
        _is_word(v) or (not isinstance(v, Leaf) and (isinstance(v, Seq) or _is_choice(v)) and _is_simple(v, levels - 1))
        for _, v in value
    )


def _is_word(value: Value) -> bool:
    if isinstance(value, Leaf):
        return not (isinstance(value.value, str) and "\n" in value.value)
    return not value.items


def _is_choice(value: Map) -> bool:
    return len(value) == 1 and value.items[0][0].startswith("$")


def _is_long(value: Leaf, room: int) -> bool:
    """Whether a string reads better as a block: many lines, or words that do not fit."""
    text = value.value
    if not isinstance(text, str):
        return False
    body = text.removesuffix("\n")
    lines = body.split("\n")
    if not body or body[0] in " \n" or not all(line.isprintable() and line == line.rstrip() for line in lines):
        return False
    if len(lines) > 1:
        return bool(lines[-1])
    return len(text) > max(room, _LEAST_FOLDED) and " " in text and not text.startswith("=") and "  " not in text


def _folded(text: str, room: int) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > room:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


def _flow(value: Value) -> str:
    match value:
        case Leaf():
            return _scalar(value.value, flow=True)
        case Seq():
            return "[" + ", ".join(_flow(v) for v in value) + "]"
        case Map():
            _check_keys(value)
            return "{" + ", ".join(f"{key_text(k, flow=True)}: {_flow(v)}" for k, v in value) + "}"


def _check_keys(value: Map) -> None:
    for key, count in Counter(value.keys()).items():
        if wrong := bad_key(key) or ("" if count == 1 else f"the key {key!r} stands twice in one mapping"):
            raise RecipeError(f"a recipe file cannot hold this: {wrong}")


def _scalar(value: Scalar, *, flow: bool) -> str:
    if isinstance(value, bool) or value is None:
        return _CONSTANTS[value]
    wrong = bad_string(value) if isinstance(value, str) else bad_number(value)
    if wrong:
        raise RecipeError(f"a recipe file cannot hold this: {wrong}")
    return string_text(value, flow=flow) if isinstance(value, str) else number_text(value)
