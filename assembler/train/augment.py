"""What `augment:` may ask for. Free of torch, so that linting can read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assembler.errors import Problem, RecipeError, near

_RULES = {"shift": "a number of pixels", "flip": "true or false"}


@dataclass(frozen=True, slots=True)
class Augment:
    """Random changes of input images [N, C, H, W]: moved by up to `shift` pixels each way, mirrored left to right.

    What a shift uncovers gets the field's smallest value (the black of a photo, the ground of a drawing).
    """

    shift: int = 0
    flip: bool = False

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any] | None) -> Augment:
        """The changes that a recipe's `{shift: 1, flip: true}` asks for. Raises RecipeError for anything else."""
        if wrong := problems(spec):
            raise RecipeError(wrong)
        return cls(**(spec or {}))


NONE = Augment()
"""Samples as they are."""


def problems(spec: Mapping[str, Any] | None) -> list[Problem]:
    """What is wrong with the section."""
    found = []
    for name, value in (spec or {}).items():
        if name not in _RULES:
            hint = near(name, _RULES) or "there are shift and flip; other changes are steps of the model: random_crop"
            found.append(Problem(f"unknown augmentation '{name}'", path="augment", hint=hint))
        elif type(value) is not type(getattr(NONE, name)) or value < 0:
            found.append(Problem(f"'{name}' must be {_RULES[name]}, not {value!r}", path="augment"))
    return found
