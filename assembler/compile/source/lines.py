"""Long statements of the file on several lines."""

from __future__ import annotations

from collections.abc import Iterator

WIDTH = 120
_OPEN, _CLOSE = "([{", ")]}"


def fitted(line: str) -> list[str]:
    """A statement `name = expression` on one line if it fits, else broken at its calls, arguments or operators.

    >>> fitted("    y = f(" + "a" * 60 + ", " + "b" * 60 + ")")[1].strip()[:4]
    'aaaa'
    """
    indent = line[: len(line) - len(line.lstrip())]
    target, equals, text = line.strip().partition(" = ")
    if len(line) <= WIDTH or not equals:
        return [line]
    head, inner = f"{indent}{target} = ", f"{indent}    "
    if dots := [n for n in _at(text, ".") if text[n - 1] in _CLOSE]:
        parts = [text[a:b] for a, b in zip([0, *dots], [*dots, len(text)], strict=True)]
        return [f"{head}(", *(f"{inner}{part}" for part in parts), f"{indent})"]
    if operators := [n for n in _at(text, " ") if text[n + 1] in "+-*/@" and text[n + 2] in " *"]:
        parts = [text[a:b].strip() for a, b in zip([0, *operators], [*operators, len(text)], strict=True)]
        return [f"{head}(", *(f"{inner}{part}" for part in parts), f"{indent})"]
    first, *rest = broken(text, f"{' ' * len(head)}")
    return [f"{head}{first.strip()}", *(f"{indent}{part[len(head) :]}" for part in rest)]


def broken(text: str, indent: str) -> list[str]:
    """An argument on one line if it fits, else with what stands in its outermost brackets on lines of its own."""
    end = text.rstrip(",")
    start = max((n for bracket in _OPEN for n in _at(end, bracket)), default=-1) if end[-1] in _CLOSE else -1
    if len(indent) + len(text) <= WIDTH or start < 0:
        return [f"{indent}{text}"]
    inside = end[start + 1 : -1]
    commas = [n for n in _at(inside, ",")]
    parts = [inside[a:b].strip(" ,") for a, b in zip([0, *commas], [*commas, len(inside)], strict=True)]
    inner = [line for part in parts if part for line in broken(f"{part},", f"{indent}    ")]
    return [f"{indent}{text[: start + 1]}", *inner, f"{indent}{end[-1]}{text[len(end) :]}"]


def _at(text: str, character: str) -> Iterator[int]:
    """Where a character stands outside of all brackets and strings; of an opening bracket the last such."""
    depth, quote, found = 0, "", []
    for n, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c == character and depth == 0:
            found.append(n)
        if not quote:
            depth += (c in _OPEN) - (c in _CLOSE)
    yield from found[-1:] if character in _OPEN else found
