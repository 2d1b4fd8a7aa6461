"""Claims about small models, measured through the public call."""

from __future__ import annotations

from typing import Any

import assembler as asm
from assembler.recipe.document import parse
from assembler.recipe.read import read_text
from assembler.recipe.values import Map, plain

TOKENS = "inputs: {x: [B, 6, 8]}\n"


def measured(model: str, claim: str) -> Any:
    """What a check finds: `model` is a recipe's text, `claim` the inside of one claim without its doc."""
    text = f"{model}\nclaims:\n  it: {{doc: A claim., {claim}}}\n"
    if "expect:" not in claim:
        text = text.replace(f", {claim}}}", f', {claim}, expect: "== 0"}}')
    return asm.verify(parse(text, "m.yaml"))[0].values[0]


def verdict(text: str) -> Any:
    """The verdict of the only claim of a recipe."""
    (found,) = asm.verify(parse(text, "m.yaml"))
    return found


def tree(text: str) -> dict[str, Any]:
    """A recipe's text as plain data."""
    found = read_text(text, "m.yaml")
    assert isinstance(found, Map)
    return dict(plain(found))
