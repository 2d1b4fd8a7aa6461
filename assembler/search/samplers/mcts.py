"""Monte-Carlo tree search over the decisions, in order, by upper confidence bounds (Kocsis and Szepesvári 2006)."""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Mapping

from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.branches import Step, descend, trail
from assembler.search.least import at_least
from assembler.search.moves import Unseen
from assembler.search.samplers.base import Origin, Sampler, SearchSpec, Values
from assembler.search.samplers.origins import Origins


class _Node:
    """How often a branch was taken, the sum of its rewards, and the branches behind it."""

    __slots__ = ("below", "total", "visits")

    def __init__(self) -> None:
        self.visits, self.total = 0, 0.0
        self.below: dict[Step, _Node] = {}


@sampler("mcts")
class Mcts(Sampler):
    """UCT over the tree of decisions, numbers by halving their ranges (DeepArchitect, arXiv:1704.08792).

    Below what was visited choices are drawn. A reward is the part of all values that are no better, so that `explore`
    means the same whatever the values are; what has no value has none. Open choices count as visits without reward.
    """

    def __init__(self, spec: SearchSpec, *, explore: float = 0.25) -> None:
        super().__init__(spec)
        self._rng = random.Random(spec.seed)
        self._unseen = Unseen(spec.space, self._rng)
        self._explore = at_least(0, "sampler 'mcts'", "explore", explore)
        self._root = _Node()
        self._values: list[float] = []
        self._led: list[str] = []
        self._origins = Origins("mcts")

    def ask(self) -> Choice | None:
        choice = self._unseen.draw(self._walk)
        if choice and (led := [name for name in choice if name in self._led]):
            more = " and drew the rest" if len(led) < len(choice) else ""
            self._origins.propose(choice, ", ".join(led), more)
        return choice

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        asked = not self._unseen.add(choice)
        self._origins.tell(choice, values)
        reward = 0.0
        if values is not None:
            bisect.insort(self._values, values[0])
            below, up_to = bisect.bisect_left(self._values, values[0]), bisect.bisect_right(self._values, values[0])
            reward = (below + up_to) / 2 / len(self._values)
        self._count(choice, visits=0 if asked else 1, reward=reward)

    def origin(self, choice: Mapping[str, Pick]) -> Origin | None:
        return self._origins.of(choice)

    def _walk(self) -> Choice:
        """A choice to which visits lead, as far as they do; `_led` are the decisions that they made."""
        self._led = []
        node: _Node | None = self._root

        def pick(name: str, branches: list[int]) -> int:
            nonlocal node
            branch = self._branch(node, name, branches)
            node = node.below.get((name, branch)) if node else None
            return branch

        choice = descend(self.space, pick, self._rng)
        self._count(choice, visits=1, reward=0.0)
        return choice

    def _branch(self, node: _Node | None, name: str, branches: list[int]) -> int:
        if node is None:
            return self._rng.choice(branches)
        fresh = [branch for branch in branches if (name, branch) not in node.below]
        if fresh:
            return self._rng.choice(fresh)
        spread = 2 * math.log(max(2, node.visits))

        self._led.append(name)

        def bound(branch: int) -> float:
            child = node.below[name, branch]
            return child.total / child.visits + self._explore * math.sqrt(spread / child.visits)

        return max(branches, key=bound)

    def _count(self, choice: Mapping[str, Pick], visits: int, reward: float) -> None:
        """Add to the nodes that lead to a choice; the first that is new is the last that is made."""
        node = self._root
        node.visits, node.total = node.visits + visits, node.total + reward
        for step in trail(self.space, choice):
            new = step not in node.below
            if new and not visits:
                return
            node = node.below.setdefault(step, _Node())
            node.visits, node.total = node.visits + visits, node.total + reward
            if new:
                return
