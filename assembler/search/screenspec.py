"""The `screen:` of a search, as a recipe writes it. Free of torch, so that linting can read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assembler.errors import Problem, RecipeError
from assembler.registry import Entry, checks
from assembler.registry.live import describe

PREDICTOR = "predictor"
"""The screen that learns from the study, in place of a proxy."""


@dataclass(frozen=True, slots=True)
class ScreenSpec:
    """Of every `of` candidates that the sampler comes up with, only the share `keep` that is best `by` a score is
    trained.

    `by` is a proxy of untrained models (`assembler ls proxies`), which looks at one batch of `batch` samples, or
    `predictor`, which learns from the trials so far what a candidate is worth, and lets all pass until it has seen 10.
    """

    by: str | dict[str, Any]
    keep: float = 0.25
    of: int = 100
    batch: int = 32

    def __post_init__(self) -> None:
        problems = []
        if not 0 < self.keep <= 1:
            problems.append(Problem(f"'keep' of a screen is a share above 0 and up to 1, not {self.keep}"))
        if self.of < 1:
            problems.append(Problem(f"'of' of a screen counts candidates, at least 1, not {self.of}"))
        if self.batch < 2:
            problems.append(Problem(f"'batch' of a screen needs at least 2 samples, not {self.batch}"))
        if problems:
            raise RecipeError(problems)

    @property
    def name(self) -> str:
        """The proxy's name, or that of the predictor."""
        return self.by if isinstance(self.by, str) else str(self.by.get("name", ""))

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> ScreenSpec:
        """The screen that a recipe's mapping gives. Raises RecipeError for unknown keys and wrong values."""
        problems = list(checks.problems(signature(), spec, lambda name: None, path="search.screen"))
        if problems:
            raise RecipeError(problems)
        return cls(**spec)


def signature() -> Entry:
    """`ScreenSpec` as a schema."""
    return describe("screen", "", ScreenSpec, {})
