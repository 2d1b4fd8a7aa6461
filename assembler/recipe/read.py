"""Recipe text to frozen values with places: PyYAML's parser events, scalars by YAML 1.2, nothing constructed.

All problems of a file come in one RecipeError. Size, depth and alias expansion are bounded before anything is built.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from assembler.errors import Problem, RecipeError, Span, near
from assembler.recipe.files import MAX_BYTES, graph_in, load_text, too_big
from assembler.recipe.pause import no_collection
from assembler.recipe.scalars import ScalarError, bad_key, bad_string, resolve, shortened
from assembler.recipe.syntax import CUT, Source, cut_expression, cut_later, is_cut, syntax_problem
from assembler.recipe.values import Leaf, Map, Scalar, Seq, Value
from assembler.resources import CONFIG, GRAPH

MAX_VALUES = 100_000
MAX_DEPTH = 64
MAX_PROBLEMS = 50

_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_DIRECTIVE = re.compile("(?:^|[\n\r\x85\u2028\u2029])%")
_VERSION = re.compile(r"%YAML 1\.[0-2]\s*$")
_SCANNER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_file(path: str | os.PathLike[str]) -> Map:
    """The top-level mapping of the recipe file at `path`.

    A graph file (`graph.txt`, or the `config.json` of an exported model) stands for a recipe whose `graph` is that text
    and whose weights lie beside it. Raises InputError where there is no readable file, RecipeError for what is wrong
    inside it.
    """
    text, place = load_text(path), Path(path)
    if place.name == CONFIG:
        text = graph_in(text, str(path))
    elif not place.name.endswith(GRAPH):
        return read_text(text, str(path))
    start = Span(str(path), 1, 1)
    tree = Map((("name", Leaf(place.resolve().parent.name)), ("graph", Leaf(text, start))))
    beside = place.with_name("model.safetensors")
    return tree.set("weights", Map((("file", Leaf(beside.name, start)),), start)) if beside.is_file() else tree


def read_text(text: str, file: str) -> Map:
    """The top-level mapping of recipe `text`; `file` is the name that spans bear. Raises RecipeError.

    >>> read_text("a: {b: [1, on]}", "x.yaml")
    Map(items=(('a', Map(items=(('b', Seq(items=(Leaf(value=1), Leaf(value='on')))),))),))
    """
    with no_collection():
        return Reader(text, file).read()


@dataclass(frozen=True, slots=True)
class _Anchor:
    """What `&name` stands for: `value` is None while it is still being read. Size and height bound its aliases."""

    span: Span
    value: Value | None = None
    size: int = 0
    height: int = 0


class _StopError(Exception):
    """Reading cannot go on; the reason is among the problems."""


class Reader:
    """Reads one text once. `anchors`, and with `notes` the marks of all scalars, stay for the formatter."""

    def __init__(self, text: str, file: str, *, notes: bool = False) -> None:
        if len(text) > MAX_BYTES:
            raise too_big(file)
        self.text = text.removeprefix("\ufeff")
        self.source = Source(self.text, file)
        self.anchors: dict[str, _Anchor] = {}
        self.scalars: list[tuple[Any, Any, str]] | None = [] if notes else None
        self._problems: list[Problem] = []
        self._covered: tuple[int, int, int] = (-1, 0, 0)
        self._count = self._deepest = self._flow = 0
        self._words: dict[str, Scalar] = {}  # what plain words were resolved to, and below the keys that were taken
        self._names: dict[str, str] = {}

    def read(self) -> Map:
        """The top-level mapping. Raises RecipeError with every problem found."""
        value: Value | None = None
        try:
            self._check_characters()
            self._check_directives()
            self._events = _SCANNER(self.text)
            try:
                value = self._document()
            finally:
                self._events.dispose()
        except yaml.YAMLError as error:
            problem, span = syntax_problem(error, self.source)
            self._covering(problem, span)
            for later in cut_later(self.source, span.line - 1) if problem.message == CUT else ():
                self._covering(*later)
        except _StopError:
            pass
        if isinstance(value, Map) and not self._problems:
            return value
        raise RecipeError(sorted(self._problems, key=_place))

    def _check_characters(self) -> None:
        if not _UNREADABLE.search(self.text):
            return
        for number, line in enumerate(self.source.lines):
            if found := _UNREADABLE.search(line):
                name = "NUL" if found[0] == "\0" else f"U+{ord(found[0]):04X}"
                span = self.source.at(number, found.start())
                shown = replace(span, text=_UNREADABLE.sub("\ufffd", span.text))
                hint = 'a recipe is plain text; inside "..." write an escape such as \\t'
                self._problem(f"the character {name} cannot stand in a recipe", shown, hint)
        if self._problems:
            raise _StopError

    def _check_directives(self) -> None:
        # A million %TAG lines take libyaml quadratic time, so none reaches it.
        if not _DIRECTIVE.search(self.text):
            return
        seen = 0
        for number, line in enumerate(self.source.lines):
            if line.startswith("%"):
                seen += 1
                if seen > 1 or not _VERSION.match(line):
                    self._stop("YAML directives are not supported", self.source.at(number, 0), "remove this line")

    def _document(self) -> Value | None:
        next_event = self._events.get_event
        next_event()
        if isinstance(next_event(), yaml.StreamEndEvent):
            self._stop(*self._empty())
        value = self._value(next_event(), 0)
        next_event()
        after = next_event()
        if not isinstance(after, yaml.StreamEndEvent):
            mark = after.start_mark
            self._problem("a second document starts here", self.source.at(mark.line, mark.column, 3),
                          "one recipe a file: remove the '---'")  # fmt: skip
        if value == Leaf(None):
            self._problem(*self._empty())
        elif not isinstance(value, Map):
            shown = f"the text {shortened(str(value.value))!r}" if isinstance(value, Leaf) else "a list"
            self._problem(f"a recipe is a mapping of `key: value`, this is {shown}", value.span,
                          "put a space after the ':' that ends a key" if ":" in shown else "")  # fmt: skip
        return value

    def _empty(self) -> tuple[str, Span, str]:
        return "the recipe is empty", self.source.at(0, 0), "start with `kind: model`"

    def _value(self, event: Any, depth: int) -> Value:
        self._one_more(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        if event.tag is not None:
            self._tag(event)
        if event.anchor is not None:
            return self._anchored(event, depth)
        return self._bare(event, depth)

    def _one_more(self, event: Any) -> None:
        self._count += 1
        if self._count > MAX_VALUES:
            self._stop(f"the recipe holds more than {MAX_VALUES:,} values", self._span(event))

    def _bare(self, event: Any, depth: int) -> Value:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if depth >= MAX_DEPTH:
            self._stop(f"values are nested more than {MAX_DEPTH} deep", self._span(event))
        self._deepest = max(self._deepest, depth + 1)
        self._flow += bool(event.flow_style)
        value = self._map(event, depth) if isinstance(event, yaml.MappingStartEvent) else self._seq(event, depth)
        self._flow -= bool(event.flow_style)
        return value

    def _anchored(self, event: Any, depth: int) -> Value:
        name, span = event.anchor, self._span(event)
        shown = shortened(name)
        if earlier := self.anchors.get(name):
            self._problem(f"the anchor &{shown} stands twice, first on line {earlier.span.line}", span, "rename one")
        self.anchors[name] = _Anchor(span)
        count, deepest, self._deepest = self._count, self._deepest, depth
        value = self._bare(event, depth)
        self.anchors[name] = _Anchor(span, value, self._count - count + 1, self._deepest - depth)
        self._deepest = max(deepest, self._deepest)
        return value

    def _alias(self, event: Any, depth: int) -> Value:
        name, span = event.anchor, self._span(event)
        anchor = self.anchors.get(name)
        if anchor is None:
            hint = near(name, self.anchors) if len(self.anchors) <= 100 else ""
            hint = hint or "put a value that starts with '*' in quotes"
            self._covering(Problem(f"there is no anchor &{shortened(name)} above this alias", span, hint=hint), span)
        elif anchor.value is None:
            message = f"the alias *{shortened(name)} stands inside its own anchor"
            self._covering(Problem(message, span, hint="a value cannot hold itself"), span)
        else:
            # Counted, not copied: an alias shares its frozen value, so a bomb costs nothing before it is refused.
            self._count += anchor.size - 1
            self._deepest = max(self._deepest, depth + anchor.height)
            if self._count > MAX_VALUES:
                self._stop(f"with its aliases expanded the recipe holds more than {MAX_VALUES:,} values", span)
            if depth + anchor.height > MAX_DEPTH:
                self._stop(f"with its aliases expanded, values are nested more than {MAX_DEPTH} deep", span)
            return anchor.value
        return Leaf(None, span)

    def _tag(self, event: Any) -> None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        hint = "recipes hold plain values only; quote the value if it starts with '!'"
        if tag.startswith("!!python"):
            hint = "a recipe never makes Python objects or runs code; ops come from the registry"
        elif tag.lstrip("!") in ("oneof", "manyof", "int", "float", "permutate"):
            hint = f"a choice is written {{${tag.lstrip('!')}: ...}}"
        mark = event.start_mark
        width = len(self.source.line(mark.line)[mark.column :].split(maxsplit=1)[0])
        self._problem(
            f"the YAML tag {shortened(tag)} is not allowed", self.source.at(mark.line, mark.column, width), hint
        )

    def _scalar(self, event: Any) -> Leaf:
        if self.scalars is not None:
            self.scalars.append((event.start_mark, event.end_mark, event.style))
        text, style, source = event.value, event.style, self.source
        mark = source.mark(event.start_mark, event.end_mark)
        if not style and text in self._words:
            return Leaf(self._words[text], mark, source)
        if style == '"' and (wrong := bad_string(text)):  # elsewhere what is unreadable is refused already
            self._problem(wrong, source.span(mark))
        if style:
            return Leaf(text, mark, source)
        if self._flow and is_cut(text):
            self._covering(*cut_expression(source, event.start_mark.line, event.start_mark.column))
        try:
            value = resolve(text)
        except ScalarError as error:
            hint = "quote it if it is text; a recipe's numbers are finite 64-bit ones"
            self._problem(str(error), source.span(mark), hint)
            return Leaf(None, mark, source)
        if not text.startswith("="):
            self._words[text] = value
        return Leaf(value, mark, source)

    def _seq(self, start: Any, depth: int) -> Seq:
        items = []
        while not isinstance(event := self._events.get_event(), yaml.SequenceEndEvent):
            items.append(self._value(event, depth + 1))
        end = event.end_mark if start.flow_style else start.end_mark  # a block list is shown by its first dash
        return Seq(tuple(items), self.source.mark(start.start_mark, end), self.source)

    def _map(self, start: Any, depth: int) -> Map:
        marks: dict[str, int] = {}
        values: list[Value] = []
        next_event, source = self._events.get_event, self.source
        while not isinstance(event := next_event(), yaml.MappingEndEvent):
            key = self._key(event, depth)
            after = next_event()
            value = self._value(after, depth + 1)
            if key is None:
                continue
            mark = source.mark(event.start_mark, event.end_mark)
            if key in marks:
                first, span = source.span(marks[key]).line, source.span(mark)
                message = f"the key {shortened(key)!r} stands twice: on line {first} and on line {span.line}"
                self._problem(message, span, "remove or rename one of them")
                continue
            if self._flow and self._has_no_colon(event, after):
                self._problem(f"the key {shortened(key)!r} has no value", source.span(mark),
                              "put a space after its ':'" if ":" in key else "write `key: value`")  # fmt: skip
            marks[key] = mark
            values.append(value)
        places = tuple(marks.values())
        if start.flow_style or not places:
            place = source.mark(start.start_mark, event.end_mark if start.flow_style else start.end_mark)
        else:
            place = places[0]
        return Map.read(tuple(marks), tuple(values), places, place, source)

    def _key(self, event: Any, depth: int) -> str | None:
        is_plain = type(event) is yaml.ScalarEvent and self.scalars is None and not (event.anchor or event.tag)
        if is_plain and (known := self._names.get(event.value)):
            self._one_more(event)
            return known
        value = self._value(event, depth + 1)
        if not isinstance(value, Leaf):
            hint = "an expression starts with '=': write =name instead of {{ name }}"
            self._covering(Problem("a key must be a name, not a list or a mapping", value.span, hint=hint), value.span)
            return None
        key, span = value.value, self._span(event)
        plain = isinstance(event, yaml.ScalarEvent) and not event.style
        if plain and key == "<<":
            self._problem("the YAML merge key '<<' is not supported", span,
                          "`extends:` merges recipes by name, `vars:` shares values")  # fmt: skip
        elif isinstance(key, bool) or (key is None and plain and event.value) or isinstance(key, float):
            self._problem(f"a key must be a name, not the value {event_text(event, key)}", span, "put it in quotes")
        elif wrong := bad_key("" if key is None else str(key)):
            self._problem(wrong, span)
        else:
            if plain and isinstance(key, str) and not key.startswith("="):
                self._names[key] = key
            return str(key)
        return None

    def _has_no_colon(self, key: Any, value: Any) -> bool:
        if not isinstance(value, yaml.ScalarEvent) or value.value or value.style:
            return False
        end = key.end_mark
        rest = self.source.line(end.line)[end.column :].lstrip()
        return bool(rest) and not rest.startswith((":", "#"))

    def _span(self, event: Any) -> Span:
        return self.source.between(event.start_mark, event.end_mark)

    def _covering(self, problem: Problem, stretch: Span | None) -> None:
        """Add a problem that explains everything else that is wrong in its stretch of the line."""
        self._problem(problem.message, problem.span, problem.hint)
        if stretch:
            self._covered = (stretch.line, stretch.column, stretch.column + stretch.width)
            self._problems = [p for p in self._problems[:-1] if not self._is_covered(p.span)] + self._problems[-1:]

    def _is_covered(self, span: Span | None) -> bool:
        line, first, end = self._covered
        return span is not None and span.line == line and first <= span.column <= end

    def _problem(self, message: str, span: Span | None, hint: str = "") -> None:
        if self._is_covered(span):
            return
        self._problems.append(Problem(message, span, hint=hint))
        if len(self._problems) >= MAX_PROBLEMS:
            self._problems.append(Problem("too many problems: the rest of the file was not read", span))
            raise _StopError

    def _stop(self, message: str, span: Span, hint: str = "") -> None:
        self._problem(message, span, hint)
        raise _StopError


def event_text(event: Any, value: object) -> str:
    """How a key was written, for a message."""
    return shortened(event.value) if isinstance(event, yaml.ScalarEvent) else repr(value)


def _place(problem: Problem) -> tuple[int, int]:
    return (problem.span.line, problem.span.column) if problem.span else (0, 0)
