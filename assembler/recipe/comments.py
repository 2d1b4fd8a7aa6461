"""Where the comments of a recipe file stand, so that the canonical form can keep them.

A comment on its own line belongs to the entry below it, or to the entry above where it is indented deeper than what
follows; a comment behind an entry belongs to that entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from assembler.errors import Problem, RecipeError, Span
from assembler.recipe.read import Reader
from assembler.recipe.syntax import Source
from assembler.recipe.values import Leaf, Map, Seq, Value

Place = tuple[int, ...]


@dataclass
class Notes:
    """Comments by place: the indexes that lead from the top-level mapping to an entry.

    `heads` are lines above an entry (an empty line is a blank one), `tails` stand behind its first line, `feet` below
    it, `foot` at the end of the file.
    """

    heads: dict[Place, list[str]] = field(default_factory=dict)
    tails: dict[Place, str] = field(default_factory=dict)
    feet: dict[Place, list[str]] = field(default_factory=dict)
    foot: list[str] = field(default_factory=list)
    noted: set[Place] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)

    def inside(self, place: Place) -> bool:
        """Whether a comment belongs to something inside the entry at `place`."""
        return place in self.noted


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where an entry stands. `leads` says that it is the first inside a list item, whose first line is its own too."""

    place: Place
    line: int
    column: int
    leads: bool


@dataclass(frozen=True, slots=True)
class _Comment:
    """A comment, or a blank line (empty text). `alone` is False behind other text."""

    line: int
    column: int
    text: str
    alone: bool


def note_positions(reader: Reader, value: Map) -> Notes:
    """The comments of what `reader` has read, by the entry of `value` that each belongs to.

    Raises RecipeError, with all places, for comments that belong to no entry, such as one behind a closing bracket.
    """
    entries = sorted(_entries(value, (), reader.source), key=lambda e: (e.line, e.column, len(e.place)))
    firsts: dict[int, _Entry] = {}
    for entry in entries:
        firsts.setdefault(entry.line, entry)
    notes, lost = Notes(), []
    following = _Cursor(entries)
    for comment in _led(list(_comments(reader))):
        if comment.text:
            notes.texts.append(comment.text)
        if comment.alone:
            _add_alone(notes, comment, *following.around(comment.line))
        elif (owner := firsts.get(comment.line)) and owner.column < comment.column:
            place = following.outermost(owner).place
            if place in notes.tails:
                lost.append(comment)
            notes.tails[place] = comment.text
            _mark(notes, place)
        else:
            lost.append(comment)
    if lost:
        raise RecipeError([_lost(reader, comment) for comment in lost])
    _tidy(notes)
    return notes


def _led(comments: list[_Comment]) -> list[_Comment]:
    """The same, with every blank line in the column of the comment right below it: the two stay together."""
    for at in range(len(comments) - 2, -1, -1):
        here, below = comments[at], comments[at + 1]
        if not here.text and below.alone and below.line == here.line + 1:
            comments[at] = replace(here, column=below.column)
    return comments


class _Cursor:
    """Steps through entries in source order as lines go down."""

    def __init__(self, entries: list[_Entry]) -> None:
        self._entries, self._at = entries, 0
        self._by_place = {entry.place: entry for entry in entries}

    def outermost(self, entry: _Entry) -> _Entry:
        """The entry itself, or the list item on whose first line the canonical form writes it."""
        while entry.leads:
            entry = self._by_place[entry.place[:-1]]
        return entry

    def around(self, line: int) -> tuple[list[_Entry], _Entry | None]:
        """The entries that hold the last one above `line`, outermost first and itself last; and the next one below."""
        while self._at < len(self._entries) and self._entries[self._at].line <= line:
            self._at += 1
        below = self.outermost(self._entries[self._at]) if self._at < len(self._entries) else None
        if self._at == 0:
            return [], below
        place = self._entries[self._at - 1].place
        return [self._by_place[place[:depth]] for depth in range(1, len(place) + 1)], below


def _add_alone(notes: Notes, comment: _Comment, chain: list[_Entry], below: _Entry | None) -> None:
    if below is None and not comment.column:
        notes.foot.append(comment.text)
        return
    if below is None or comment.column > below.column:
        around = below.place if below else ()
        above = [e for e in chain if e.column <= comment.column and around[: len(e.place)] != e.place]
        if above:
            place = above[-1].place
            notes.feet.setdefault(place, []).append(comment.text)
            _mark(notes, place)
            return
    if below is None:
        notes.foot.append(comment.text)
        return
    notes.heads.setdefault(below.place, []).append(comment.text)
    if comment.text:
        _mark(notes, below.place)


def _mark(notes: Notes, place: Place) -> None:
    notes.noted.update(place[:depth] for depth in range(len(place)))


def _tidy(notes: Notes) -> None:
    """Keep one blank line of a run, and none at the end of the file."""
    for lines in (*notes.heads.values(), *notes.feet.values(), notes.foot):
        lines[:] = [line for i, line in enumerate(lines) if line or (i == 0 or lines[i - 1])]
    while notes.foot and not notes.foot[-1]:
        notes.foot.pop()


def _entries(value: Value, place: Place, source: Source, in_item: bool = False) -> Iterator[_Entry]:
    if isinstance(value, Leaf):
        return
    spans = value.key_spans if isinstance(value, Map) else tuple(item.span for item in value.items)
    is_list, items = isinstance(value, Seq), value.items
    for index, span in enumerate(spans):
        if span:
            before = source.line(span.line - 1)[: span.column - 1].rstrip()
            column = len(before) - 1 if is_list and before.endswith("-") else span.column - 1
            yield _Entry((*place, index), span.line - 1, column, in_item and index == 0)
        item = items[index]
        yield from _entries(item[1] if isinstance(item, tuple) else item, (*place, index), source, is_list)


def _comments(reader: Reader) -> Iterator[_Comment]:
    """Comments and blank lines, top down: every '#' that no scalar covers starts one."""
    covered, inner = _covered(reader.scalars or [])
    for number, line in enumerate(reader.source.lines):
        if number in inner:
            continue
        if not line.strip():
            yield _Comment(number, 0, "", True)
            continue
        at = line.find("#")
        while at >= 0 and any(start <= at < end for start, end in covered.get(number, ())):
            at = line.find("#", at + 1)
        if at >= 0:
            alone = not line[:at].strip() and number not in covered
            yield _Comment(number, at, line[at:].rstrip(), alone)


def _covered(scalars: list[tuple[Any, Any, str]]) -> tuple[dict[int, list[tuple[int, int]]], set[int]]:
    """The column ranges that scalars cover by line, and the lines that lie wholly inside one."""
    covered: dict[int, list[tuple[int, int]]] = {}
    inner: set[int] = set()
    for start, end, style in scalars:
        if style in ("|", ">"):
            inner.update(range(start.line + 1, end.line))
            if end.column:
                inner.add(end.line)
            continue
        inner.update(range(start.line + 1, end.line))
        first = start.column if start.line == end.line else 0
        covered.setdefault(end.line, []).append((first, end.column))
        if start.line != end.line:
            covered.setdefault(start.line, []).append((start.column, 1 << 30))
    return covered, inner


def _lost(reader: Reader, comment: _Comment) -> Problem:
    span: Span = reader.source.at(comment.line, comment.column, len(comment.text))
    return Problem("this comment belongs to no entry", span, hint="put it on a line of its own above an entry")
