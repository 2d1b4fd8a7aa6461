"""Random changes of recipes as text, with some knowledge of what recipes are made of."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from assembler.resources import shipped

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "mistakes"
TOKEN = re.compile(r"[A-Za-z_$=][\w.@*]*|-?\d[\w.]*|[^\s\w]|\n *")
SCALARS = tuple(
    re.split(
        r"\s{2,}",
        """0  -1  1  2  1.5  true  null  ~  ''  x  =x  =  =1/0  =2**63  =t  =j  =input  []  {}  [1, 2]  {a: 1}  1e999
        9223372036854775807  9223372036854775808  .nan  .inf  -.inf  1e-400  {$oneof: [1, 2]}  {$oneof: []}  =[1]*9999
        {$int: [1, 3]}  {$int: [3, 1]}  {$float: [0, 1], log: true}  '=a if b else c'  =max()  =len(3)  =1 +  =-x  é
        =(((((1)))))  =dims[0]  =dims[99]  \u2028  名前  input  B  train  eval  item  switch  loop  experts  residual
        branches  op  body  *  ..  a.b  true.false  1.2.3  0x10  0o7  1_000  2024-01-01  |  >-  <<  ? a  *a  &a 1  share
        !!python/name:os  {shape: [B, 4], when: train}  {from: a, when: eval}  [B]  [B, 0]
        [B, =dim]  [[B, 2], [B, 3]]""",
    )
)
Change = Callable[[random.Random, str], str]


@cache
def corpus() -> tuple[str, ...]:
    """Every shipped recipe, and every golden mistake."""
    files = [*shipped().values(), *GOLDEN.glob("*.yaml")]
    return tuple(sorted({file.read_text(encoding="utf-8") for file in files}))


@cache
def words() -> tuple[str, ...]:
    """What recipes have for keys and names."""
    return tuple(sorted({w for text in corpus() for w in re.findall(r"[A-Za-z_$][\w.]*", text) if len(w) < 25}))


def mutant(chance: random.Random) -> str:
    """One of the corpus after changes."""
    return changed(chance, chance.choice(corpus()))


def changed(chance: random.Random, text: str) -> str:
    """The text after one to four changes."""
    for _ in range(chance.randint(1, 4)):
        text = chance.choice(CHANGES)(chance, text)
    return text


def tree_mutant(chance: random.Random) -> str:
    """A recipe that is YAML, after changes to its tree: places deleted, renamed, swapped, wrapped, or put elsewhere."""
    tree = copy.deepcopy(chance.choice(trees()))
    for _ in range(chance.randint(1, 3)):
        places = list(_places(tree))
        owner, key = chance.choice(places)
        other, at = chance.choice(list(_places(chance.choice(trees()))))
        kind = chance.randrange(8)
        if kind == 0:
            del owner[key]
        elif kind == 1 and isinstance(owner, dict):
            renamed = {chance.choice(words()) if k == key else k: v for k, v in owner.items()}
            owner.clear()
            owner.update(renamed)
        elif kind == 2:
            there, where = chance.choice(places)
            owner[key], there[where] = copy.deepcopy(there[where]), copy.deepcopy(owner[key])
        elif kind == 3:
            owner[key] = chance.choice(
                [[owner[key]], {"$oneof": [owner[key], 1]}, {"a": owner[key]}, {"op": owner[key]}]
            )
        elif kind == 4 and isinstance(owner, dict):
            owner[at if isinstance(at, str) else "x"] = copy.deepcopy(other[at])
        elif kind == 5:
            owner[key] = chance.choice(
                [0, -1, 1, 3, 2.5, True, None, "", "x", "=x", "=t", 10**12, chance.choice(words())]
            )
        else:
            owner[key] = copy.deepcopy(other[at])
        if not tree:
            break
    return yaml.dump(tree, Dumper=_Plain, sort_keys=False, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


@cache
def trees() -> tuple[dict[str, Any], ...]:
    """What of the corpus is YAML to PyYAML as well."""
    found = []
    for text in corpus():
        with suppress(yaml.YAMLError, ValueError, RecursionError):
            if isinstance(tree := yaml.safe_load(text), dict) and "!" not in text and "&" not in text:
                found.append(tree)
    return tuple(found)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """(owner, key) of every value in a tree."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _lines(chance: random.Random, text: str, change: Callable[[list[str], int], None]) -> str:
    lines = text.split("\n")
    change(lines, chance.randrange(len(lines)))
    return "\n".join(lines)


def _span(chance: random.Random, text: str, pattern: re.Pattern[str]) -> tuple[int, int]:
    found = list(pattern.finditer(text))
    return chance.choice(found).span() if found else (len(text), len(text))


def delete_line(chance: random.Random, text: str) -> str:
    return _lines(chance, text, lambda lines, at: lines.__delitem__(at))


def double_line(chance: random.Random, text: str) -> str:
    return _lines(chance, text, lambda lines, at: lines.insert(at, lines[at]))


def move_line(chance: random.Random, text: str) -> str:
    return _lines(chance, text, lambda lines, at: lines.insert(chance.randrange(len(lines)), lines.pop(at)))


def indent_line(chance: random.Random, text: str) -> str:
    def change(lines: list[str], at: int) -> None:
        lines[at] = chance.choice(["  ", "    ", " ", "\t", "- "]) + lines[at]

    return _lines(chance, text, change)


def outdent_line(chance: random.Random, text: str) -> str:
    def change(lines: list[str], at: int) -> None:
        lines[at] = lines[at].removeprefix("  ")

    return _lines(chance, text, change)


def swap_tokens(chance: random.Random, text: str) -> str:
    (a, b), (c, d) = sorted([_span(chance, text, TOKEN), _span(chance, text, TOKEN)])
    return text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:] if b <= c else text


def delete_token(chance: random.Random, text: str) -> str:
    a, b = _span(chance, text, TOKEN)
    return text[:a] + text[b:]


def other_word(chance: random.Random, text: str) -> str:
    a, b = _span(chance, text, re.compile(r"[A-Za-z_$][\w.]*"))
    return text[:a] + chance.choice(words()) + text[b:]


def other_scalar(chance: random.Random, text: str) -> str:
    a, b = _span(chance, text, re.compile(r"(?<=[:,\[] )[^,\n\]}{\[]+|(?<=\[)[^,\n\]}{\[]+"))
    return text[:a] + chance.choice(SCALARS) + text[b:]


def new_entry(chance: random.Random, text: str) -> str:
    def change(lines: list[str], at: int) -> None:
        indent = re.match(" *", lines[at])[0]  # type: ignore[index]
        value = chance.choice([*SCALARS, *words()])
        lines.insert(at, f"{indent}{chance.choice(words())}: {value}")

    return _lines(chance, text, change)


def flow_entry(chance: random.Random, text: str) -> str:
    a, _ = _span(chance, text, re.compile(r"(?<=\{)"))
    return f"{text[:a]}{chance.choice(words())}: {chance.choice(SCALARS)}, {text[a:]}"


def huge_number(chance: random.Random, text: str) -> str:
    a, b = _span(chance, text, re.compile(r"\b\d+(\.\d+)?\b"))
    return text[:a] + chance.choice(["0", "-7", "100000", "9" * 18, "9" * 30, "1e30", "0.5", "3"]) + text[b:]


def deep(chance: random.Random, text: str) -> str:
    a, b = _span(chance, text, re.compile(r"(?<=: )[^\n]+"))
    depth = chance.choice([3, 30, 70])
    opened, closed = chance.choice(
        [("[", "]"), ("{a: ", "}"), ("{body: {s: ", "}}"), ("{op: residual, body: {s: ", "}}")]
    )
    return text[:a] + opened * depth + text[a:b] + closed * depth + text[b:]


def wild(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text) + 1)
    signs = [
        "é",
        "\u202e",
        "\ufeff",
        "ä",
        "\x07",
        "\x00",
        "#",
        '"',
        "'",
        "\\",
        "`",
        "@",
        "%",
        "\r",
        "\t",
        ": ",
        "- ",
        "\n",
        "`",
    ]
    return text[:at] + chance.choice(signs) + text[at:]


def alias(chance: random.Random, text: str) -> str:
    a, _ = _span(chance, text, re.compile(r"(?<=: )(?=\S)"))
    text = f"{text[:a]}&a {text[a:]}"
    c, d = _span(chance, text, re.compile(r"(?<=: )[^\n&]+"))
    return text[:c] + "*a" + text[d:]


def splice(chance: random.Random, text: str) -> str:
    other = chance.choice(corpus()).split("\n")
    lines = text.split("\n")
    a, b = sorted(chance.randrange(len(other) + 1) for _ in "ab")
    at = chance.randrange(len(lines) + 1)
    return "\n".join([*lines[:at], *other[a:b], *lines[at:]])


def append(chance: random.Random, text: str) -> str:
    return f"{text}\n{chance.choice(corpus())}"


def cut_off(chance: random.Random, text: str) -> str:
    return text[: chance.randrange(len(text) + 1)]


CHANGES: tuple[Change, ...] = (
    delete_line, double_line, move_line, indent_line, outdent_line, swap_tokens, swap_tokens, delete_token, other_word,
    other_word, other_scalar, other_scalar, other_scalar, new_entry, new_entry, flow_entry, huge_number, deep, wild,
    alias, splice, append, cut_off,
)  # fmt: skip
