"""Option values that are more than a word: mappings in YAML's inline form, and `name=number` pairs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from assembler.errors import InputError
from assembler.recipe.read import read_text
from assembler.recipe.values import Map, plain


def mapping(text: str, option: str, *, name: str = "") -> dict[str, Any]:
    """The mapping that an option's text holds; with `name` a lone word stands for `{name: word}`.

    Raises RecipeError for what is no YAML, InputError for what is no mapping.
    """
    value = read_text(f"value: {text}\n", option).get("value")
    found = plain(value)
    if name and isinstance(found, str):
        return {name: found}
    if not isinstance(value, Map):
        example = "digits or {name: digits}" if name else "{epochs: 3, lr: 1e-3}"
        raise InputError(f"{option} takes a mapping, not '{text}'", hint=f"for instance {example}")
    return dict(found)


def pairs(text: str, option: str) -> dict[str, str]:
    """The names and words of `name=word,name=word`. Raises InputError where it is something else."""
    found = [(name.strip(), word.strip()) for name, sign, word in (p.partition("=") for p in text.split(",")) if sign]
    if len(found) != text.count(",") + 1 or not all(name and word for name, word in found):
        raise InputError(f"{option} takes name=label, not '{text}'", hint=f"for instance {option} block.mixer=pool")
    return dict(found)


def numbers(pairs: Iterable[str], option: str) -> dict[str, float]:
    """The numbers of repeated `name=number` options. Raises InputError where one is something else."""
    found: dict[str, float] = {}
    for text in pairs:
        name, sign, number = text.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            sign = ""
        if not sign:
            raise InputError(f"{option} takes name=number, not '{text}'", hint=f"for instance {option} params=1e5")
    return found
