"""A controller that learns which choices are worth training: REINFORCE over the decisions of a space."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from assembler.recipe.choices import Choice, Decision, Pick, Space

_MOST = 64  # picks of a decision that are told apart


class Policy:
    """A softmax for each decision with up to 64 picks; others are drawn uniformly.

    `learn` ascends the expected reward (Williams 1992; ENAS, Pham et al., 2018, arXiv:1802.03268, eq. 3), less a
    moving average of it as the baseline. The softmaxes are independent where ENAS has an LSTM.
    """

    def __init__(self, space: Space, rate: float = 0.3, memory: float = 0.9) -> None:
        self.space = space
        self.logits = {d.name: [0.0] * len(picks) for d in space.decisions if (picks := _picks(d))}
        self._rate, self._memory = rate, memory
        self._baseline: float | None = None

    def draw(self, rng: random.Random) -> Choice:
        """A choice by the probabilities as they are."""
        return self.space.made(lambda d: self._drawn(d, rng))

    def learn(self, choice: Mapping[str, Pick], reward: float) -> None:
        """Make a choice likelier the more its reward exceeds the usual one."""
        baseline = reward if self._baseline is None else self._baseline
        self._baseline = self._memory * baseline + (1 - self._memory) * reward
        for d in self.space.decisions:
            if d.name in choice and d.name in self.logits and choice[d.name] in _picks(d):
                at = _picks(d).index(choice[d.name])
                logits, chances = self.logits[d.name], self.chances(d.name)
                for i, chance in enumerate(chances):
                    logits[i] += self._rate * (reward - baseline) * ((i == at) - chance)

    def chances(self, name: str) -> list[float]:
        """The probabilities of a decision's picks."""
        most = max(self.logits[name])
        weights = [math.exp(value - most) for value in self.logits[name]]
        return [weight / sum(weights) for weight in weights]

    @property
    def preferred(self) -> Choice:
        """The likeliest pick of every decision that is open."""
        return self.space.made(self._best)

    def _best(self, d: Decision) -> Pick:
        if d.name not in self.logits:
            return d.first
        return _picks(d)[max(range(len(self.logits[d.name])), key=self.logits[d.name].__getitem__)]

    def _drawn(self, d: Decision, rng: random.Random) -> Pick:
        return rng.choices(_picks(d), self.chances(d.name))[0] if d.name in self.logits else d.sample(rng)


def _picks(d: Decision) -> list[Pick]:
    """The picks of a decision that takes one of a few values."""
    if d.kind == "oneof":
        return list(range(len(d.labels))) if len(d.labels) <= _MOST else []
    if d.kind == "int" and (d.size or _MOST + 1) <= _MOST:
        return list(range(int(d.low or 0), int(d.high or 0) + 1))
    return []
