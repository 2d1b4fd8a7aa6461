"""YAML's own syntax errors in plain words, and the comma that cuts an unquoted expression in two."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from assembler.errors import Problem, Span

_LONGEST_SHOWN = 500
_BITS = 22  # of a column or a width: a text has fewer than 2**22 characters
_MOST = (1 << _BITS) - 1
_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_EXPRESSION = re.compile(r"(?:^|[\s\[{,])(=)(?!=)")
CUT = "inside { } and [ ] an expression that holds a comma or brackets needs quotes"
_OPEN, _CLOSE = "([{", ")]}"
_NO_SPACE = re.compile(r"^\s*(?:- )?[A-Za-z_][\w.]*:[^\s:/]")


class Source:
    """A file's text by lines, which makes spans from YAML's marks."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.lines = _BREAK.split(text)

    def mark(self, start: Any, end: Any) -> int:
        """The stretch from one of YAML's marks to another, cut at the end of the first line, as one number."""
        line, column = start.line, start.column
        last = end.column if end.line == line else len(self.line(line).rstrip())
        return (line << _BITS | column) << _BITS | (last - column if last > column else 1)  # type: ignore[no-any-return]

    def span(self, mark: int) -> Span:
        """The stretch that a number stands for."""
        return self.at(mark >> 2 * _BITS, mark >> _BITS & _MOST, mark & _MOST)

    def line(self, number: int) -> str:
        """The text of line `number` (from 0), or nothing past the end."""
        return self.lines[number] if number < len(self.lines) else ""

    def at(self, line: int, column: int, width: int = 1) -> Span:
        """The span that starts at `line` and `column` (both from 0). The text of very long lines is left out."""
        text = self.lines[line] if line < len(self.lines) else ""
        return Span(self.file, line + 1, column + 1, text if len(text) <= _LONGEST_SHOWN else "", width)

    def between(self, start: Any, end: Any) -> Span:
        """The span from one of YAML's marks to another, cut at the end of the first line."""
        return self.span(self.mark(start, end))


def is_cut(text: str) -> bool:
    """Whether a plain word from inside `{ }` is the first part of an expression that a comma cut in two."""
    if not text.startswith("="):
        return False
    return text.count("(") > text.count(")") or text.count("'") % 2 == 1 or text.count('"') % 2 == 1


def whole_expression(line: str, start: int) -> str:
    """The expression that starts at `start`, through its own commas and brackets; empty if the line ends inside it.

    >>> whole_expression("{k: =max(a, b), s: 2}", 4)
    '=max(a, b)'
    """
    depth, quote = 0, ""
    for at in range(start, min(len(line), start + _LONGEST_SHOWN)):
        char = line[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _OPEN:
            depth += 1
        elif depth and char in _CLOSE:
            depth -= 1
        elif not depth and char in ",]}":
            return line[start:at].rstrip()
    return "" if depth or quote else line[start:].rstrip()


def quoted(expression: str) -> str:
    """`expression` in quotes, as YAML has them."""
    return "'" + expression.replace("'", "''") + "'" if '"' in expression else f'"{expression}"'


def cut_expression(source: Source, line: int, column: int) -> tuple[Problem, Span]:
    """The problem for an unquoted expression at `line` and `column` (from 0), and the stretch that it covers."""
    whole = whole_expression(source.line(line), column)
    span = source.at(line, column, max(1, len(whole)))
    hint = f"write {quoted(whole)}" if whole else "put the whole expression in quotes"
    return Problem(CUT, span, hint=hint), span


def syntax_problem(error: Any, source: Source) -> tuple[Problem, Span]:
    """What a `yaml.YAMLError` means for the author of `source`, and the stretch that it covers."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        span = source.at(0, 0)
        return Problem(f"this is not YAML: {getattr(error, 'reason', error)}", span), span
    context = getattr(error, "context_mark", None)
    in_flow = "flow" in (error.context or "")
    if in_flow:
        for number in dict.fromkeys((mark.line, context.line if context else mark.line)):
            for found in _EXPRESSION.finditer(source.line(number)[:_LONGEST_SHOWN]):
                whole = whole_expression(source.line(number), found.start(1))
                reached = number < mark.line or found.start(1) <= mark.column
                if reached and any(c in whole for c in ",[{"):
                    return cut_expression(source, number, found.start(1))
    message, hint, start = _explain(f"{error.problem}", source, mark, context)
    span = source.at(start.line, start.column)
    return Problem(message, span, hint=hint), span


def cut_later(source: Source, line: int) -> Iterator[tuple[Problem, Span]]:
    """The same problem for expressions on the lines after `line` (from 0), which YAML's reader does not come to."""
    for number in range(line + 1, len(source.lines)):
        text = source.line(number)[:_LONGEST_SHOWN]
        for found in _EXPRESSION.finditer(text) if "=" in text else ():
            before = text[: found.start(1)]
            inside = sum(map(before.count, "{[")) > sum(map(before.count, "}]"))
            whole = whole_expression(source.line(number), found.start(1))
            if inside and any(c in whole for c in ",[{"):
                yield cut_expression(source, number, found.start(1))


def _explain(problem: str, source: Source, mark: Any, context: Any) -> tuple[str, str, Any]:
    """Message, hint and the mark to point at."""
    line = source.line(mark.line)
    start = context or mark
    opener = source.line(start.line)[start.column : start.column + 1]
    if "${" in line:
        return "'${' opens a mapping here", "an expression starts with '=': write =name instead of ${name}", mark
    if "unexpected end of stream" in problem or "unexpected document" in problem:
        return f"the {_quote_name(opener)} is never closed", "close the quote on the line where it opens", start
    if opener and opener in "{[" and ("',' or" in problem):
        return _unclosed(opener, source, mark, start)
    if "\t" in line[: mark.column + 1] and not line[: mark.column + 1].strip():
        return "a tab in the indentation", "YAML indents with spaces only", mark
    if "cannot start any token" in problem:
        return f"a value cannot start with {line[mark.column : mark.column + 1]!r}", "put the value in quotes", mark
    for known, message, hint, at_context in _KNOWN:
        if re.search(known, problem):
            chosen = start if at_context else mark
            text = source.line(chosen.line)
            return message, _SPACE_HINT if _NO_SPACE.match(text) and "':'" in message else hint, chosen
    return f"this is not YAML: {problem}", "", mark


def _unclosed(opener: str, source: Source, mark: Any, start: Any) -> tuple[str, str, Any]:
    closer = "}" if opener == "{" else "]"
    rest = source.line(mark.line)[mark.column :].strip()
    if mark.line != start.line or not rest:
        return f"the '{opener}' is not closed", f"a '{closer}' is missing", start
    return f"expected ',' or '{closer}'", f"separate the entries of {opener} {closer} with commas", mark


def _quote_name(opener: str) -> str:
    return f"quote {opener}" if opener in ("'", '"') and opener else "text"


_SPACE_HINT = "put a space after the ':' that ends a key"
_KNOWN = (
    ("mapping values are not allowed", "a ':' where no key can stand",
     "quote a value that holds ': ', and indent the keys of one mapping alike", False),
    ("could not find expected ':'", "a key without ':'", "every line of a mapping reads `key: value`", True),
    ("did not find expected key|<block end>", "this line does not fit the mapping around it",
     "indent the keys of one mapping alike, and check the quotes and brackets above", False),
    ("alphabetic or numeric|undefined alias", "'*' and '&' start YAML aliases and anchors",
     "put a value that starts with '*' or '&' in quotes", True),
    ("sequence entries are not allowed", "a list cannot start on the line of its key",
     "start it on the next line, or write [a, b]", False),
    ("'-' indicator", "this line does not fit the list around it", "indent the '-' of one list alike", False),
    ("expected node content|expected the node content", "a value is missing here",
     "remove the extra ',' or bracket, or write null", False),
    ("<document start>", "this line does not fit the mapping above it", "all top-level keys start in column 1", False),
    ("unknown escape character", "unknown escape in double quotes",
     "use single quotes, or write two backslashes", False),
    ("comment or line break", "text after '|' or '>'", "the text of a block starts on the next line", False),
    ("tag", "YAML tags are not allowed", "put a value that starts with '!' in quotes", True),
)  # fmt: skip
