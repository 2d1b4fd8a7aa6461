"""The shipped recipes of papers: those under `recipes/papers/`, by what their `paper:` and `claims:` say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assembler import resources
from assembler.recipe.document import load
from assembler.recipe.values import plain

FOLDER = "papers"


@dataclass(frozen=True)
class Paper:
    """One of them. `exact` and `arms` count its claims; `seed` is its number among the papers that we began with."""

    name: str
    title: str
    source: str
    family: str
    seed: int | None
    exact: int
    arms: int

    @property
    def status(self) -> str:
        """What of it `assembler verify` measures."""
        told = [f"{n} {what}" for n, what in ((self.exact, "exact"), (self.arms, "compared")) if n]
        return f"claims: {', '.join(told)}" if told else "no claims yet"

    def data(self) -> dict[str, Any]:
        """The paper as plain data."""
        return {**asdict(self), "doc": self.title, "status": self.status}


def papers() -> list[Paper]:
    """Every shipped recipe of a paper, by name. Raises RecipeError for a file that cannot be read."""
    names = sorted(name for name, file in resources.shipped().items() if is_paper(file))
    return [_paper(name, plain(load(name).tree)) for name in names]


def is_paper(file: Path) -> bool:
    """Whether a shipped file is the recipe of a paper."""
    return resources.root("recipes") / FOLDER in file.parents


def _paper(name: str, tree: dict[str, Any]) -> Paper:
    about = tree.get("paper") or {}
    claims = [claim for claim in (tree.get("claims") or {}).values() if claim]  # null takes out one that is inherited
    arms = sum("arms" in claim for claim in claims)
    title, source, family = (str(about.get(key, "")) for key in ("title", "source", "family"))
    return Paper(name, title, source, family, about.get("seed"), len(claims) - arms, arms)
