"""What became of each tensor of a child, in words and in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Fate = Literal["copied", "scaled", "learned", "grown", "sliced", "factored", "identity", "initialised"]
FATES: tuple[Fate, ...] = get_args(Fate)


@dataclass(frozen=True)
class Account:
    """The fate of every tensor by `state_dict` key, and the steps that have another name in the parent.

    `copied` as it was; `scaled`, a copy with its share of what several add; `learned`, a trained linear map of several;
    `grown` to more channels or a larger kernel, keeping the function where the rest of the graph lets it; `sliced`, the
    first channels or the middle of the kernel; `factored`, of the product nearest to what was whole; `identity`, of a
    new step that begins as if it were not there; `initialised` anew.
    """

    fates: Mapping[str, Fate]
    moved: Mapping[str, str]

    @property
    def counts(self) -> dict[str, int]:
        """How many tensors had each fate; those that none had are left out."""
        found = Counter(self.fates.values())
        return {fate: found[fate] for fate in FATES if found[fate]}

    def __str__(self) -> str:
        said = ", ".join(f"{count} {fate}" for fate, count in self.counts.items()) or "nothing to inherit"
        return said + (f"; {len(self.moved)} steps under another name" if self.moved else "")
