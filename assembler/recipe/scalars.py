"""Scalars of YAML 1.2's core schema: what a plain word means, and which values a recipe can hold.

Every number in a recipe is finite; integers fit in 64 bits; strings hold no control characters, so that a name is safe
in a path, a terminal and a JSON file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from assembler.recipe.values import Scalar

LARGEST_INT = 2**63 - 1
LONGEST_KEY = 200

_CONSTANTS: Mapping[str, Scalar] = {"": None, "~": None} | {
    form: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for form in (word, word.capitalize(), word.upper())
}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMBER_START = frozenset("0123456789+-.")
_BASES = {"0o": 8, "0x": 16}
_MOST_DIGITS = 100

_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


class ScalarError(ValueError):
    """A word that looks like a number which no recipe can hold."""


def resolve(text: str) -> Scalar:
    """The value of a plain (unquoted) word.

    >>> [resolve(t) for t in ("1e-3", "on", "true", "0o17", "010", "12:30:45", "~")]
    [0.001, 'on', True, 15, 10, '12:30:45', None]

    Raises ScalarError for `.inf`, `.nan`, floats out of range and integers beyond 64 bits.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMBER_START:
        return text
    if _INT.fullmatch(text):
        return _int(text)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if _NOT_FINITE.fullmatch(text):
        raise ScalarError(f"{text} is not a finite number")
    return text


def _int(text: str) -> int:
    base = _BASES.get(text[:2], 10)
    if len(text) <= _MOST_DIGITS:
        number = int(text, base)
        if abs(number) <= LARGEST_INT:
            return number
    raise ScalarError(f"the integer {shortened(text)} does not fit in 64 bits")


def _float(text: str) -> float:
    number = float(text) if len(text) <= _MOST_DIGITS else math.inf
    if math.isinf(number):
        raise ScalarError(f"the number {shortened(text)} is too large or too long for a float")
    return number


def shortened(text: str, most: int = 40) -> str:
    """`text`, cut to at most `most` characters for a message."""
    return text if len(text) <= most else text[: most - 3] + "..."


def bad_string(text: str) -> str:
    """What is wrong with `text` as a string of a recipe; empty when nothing is."""
    found = _FORBIDDEN.search(text)
    return f"a string cannot hold the control character U+{ord(found[0]):04X}" if found else ""


def bad_key(text: str) -> str:
    """What is wrong with `text` as a key; empty when nothing is."""
    if not text:
        return "a key cannot be empty"
    if len(text) > LONGEST_KEY:
        return f"a key has at most {LONGEST_KEY} characters, this one has {len(text)}"
    return "" if text.isprintable() else f"a key must be printable text, not {shortened(ascii(text))}"


def bad_number(number: int | float) -> str:
    """What is wrong with `number` as a number of a recipe; empty when nothing is."""
    if isinstance(number, float):
        return "" if math.isfinite(number) else f"{number} is not a finite number"
    return "" if abs(number) <= LARGEST_INT else "the integer does not fit in 64 bits"
