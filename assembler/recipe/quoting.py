"""Scalars as text that YAML 1.1 and 1.2 readers understand alike: shortest numbers, quotes only where needed."""

from __future__ import annotations

import re

# Words that a YAML 1.1 reader takes for something else than a string.
_OLD = re.compile(
    r"(?:yes|no|on|off|true|false|null)"
    r"|[-+]?(?:0b[01_]+|0x[0-9a-f_]+|0o?[0-7_]+|[0-9][0-9_]*(?::[0-5]?[0-9])*)"
    r"|[-+]?(?:[0-9][0-9_]*(?::[0-5]?[0-9])*)?\.?[0-9_]*(?:e[-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|nan)"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:t|[ \t]+)[0-9].*)?"
    r"|~|=|<<",
    re.IGNORECASE,
)
_INDICATORS = frozenset("-?:,[]{}#&*!|>'\"%@`")
_BREAKS_PLAIN = re.compile(r": |:$| #|^\s|\s$|^---|^\.\.\.|^[-?:](?:\s|$)")
_BREAKS_FLOW = re.compile(r"[,?\[\]{}]")


def number_text(number: int | float) -> str:
    """The shortest text that YAML 1.1 and 1.2 both read as `number`.

    >>> [number_text(n) for n in (3, 0.1, 1e-5, 1e16)]
    ['3', '0.1', '1.0e-5', '1.0e+16']
    """
    text = repr(number)
    if isinstance(number, int) or "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    if "." not in mantissa:
        mantissa += ".0"  # YAML 1.1 takes 1e-05 for a string
    return f"{mantissa}e{int(exponent):+d}"


def string_text(text: str, *, flow: bool) -> str:
    """`text` as a YAML scalar on one line: plain where every reader takes it for this string, else quoted."""
    if is_plain(text, flow=flow):
        return text
    if text.isprintable() and ('"' in text or "\\" in text):
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else _escaped(c) for c in text) + '"'


def is_plain(text: str, *, flow: bool) -> bool:
    """Whether `text` needs no quotes; `flow` says whether it stands inside `{ }` or `[ ]`."""
    if not text or not text.isprintable() or (text[0] in _INDICATORS and not _dash_word(text)):
        return False
    if _BREAKS_PLAIN.search(text) or (flow and _BREAKS_FLOW.search(text)):
        return False
    return not _OLD.fullmatch(text)


def _dash_word(text: str) -> bool:
    return text[0] == "-" and len(text) > 1 and text[1] not in _INDICATORS


def key_text(key: str, *, flow: bool) -> str:
    """`key` as YAML; an instance index (`0`, `12`) stays a bare number."""
    if key.isdecimal() and key.isascii() and str(int(key)) == key and len(key) < 19:
        return key
    return string_text(key, flow=flow)


def _escaped(char: str) -> str:
    known = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if char in known:
        return known[char]
    code = ord(char)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
