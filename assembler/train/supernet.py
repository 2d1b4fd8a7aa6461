"""The `supernet:` of a search, as a recipe writes it. Free of torch, so that linting can read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from assembler.errors import RecipeError
from assembler.registry import Entry, checks
from assembler.registry.live import describe


@dataclass(frozen=True, slots=True)
class SupernetSpec:
    """How the shared weights of all candidates are trained, and what is made of the winner.

    `train` is "spos": every step trains one candidate, drawn uniformly (Guo et al. 2020); "sandwich": the largest, the
    smallest and `paths` others at once, the largest teaching the rest (Yu and Huang 2019, OFA); "enas": a candidate
    drawn by a controller that learns from validation (Pham et al. 2018); "darts": all ops at once, weighted by a
    softmax that is trained on validation batches and then discretised (Liu et al. 2019). But for "darts" the sizes of a
    step are cut out of the largest. `epochs` is how long, that of `train:` if left out. `then` is what the winner is:
    trained from "scratch", tuned from the shared weights ("tune"), or left as it is ("keep").
    """

    train: Literal["spos", "sandwich", "enas", "darts"] = "spos"
    epochs: float | None = None
    paths: int = 2
    then: Literal["scratch", "tune", "keep"] = "scratch"

    def __post_init__(self) -> None:
        if self.paths < 0:
            raise RecipeError(f"'paths' of a supernet counts candidates, at least 0, not {self.paths}")
        if self.epochs is not None and not self.epochs > 0:
            raise RecipeError(f"'epochs' of a supernet must be above 0, not {self.epochs}")

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> SupernetSpec:
        """The settings that a recipe's mapping gives. Raises RecipeError for unknown keys and wrong values."""
        problems = list(checks.problems(signature(), spec, lambda name: None, path="search.supernet"))
        if problems:
            raise RecipeError(problems)
        return cls(**spec)


def signature() -> Entry:
    """`SupernetSpec` as a schema."""
    return describe("supernet", "", SupernetSpec, {})
