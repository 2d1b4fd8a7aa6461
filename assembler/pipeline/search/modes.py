"""What a search makes of a trial: a training from the start, or one that inherits its parent's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from assembler.assemble.product import Product
from assembler.assemble.task import Task
from assembler.pipeline.code import beginnings
from assembler.pipeline.jobs import PARENT
from assembler.pipeline.search.pruning import Past
from assembler.recipe.choices import Choice, Pick
from assembler.registry.entry import digest
from assembler.search.evaluators import Outcome
from assembler.search.moves import Frozen, frozen
from assembler.search.trial import Inherited, Trial

Make = Callable[[Trial, Mapping[str, Task]], Task]
"""The task that trains a trial's candidate, given what it needs besides the weights that the recipe names."""


@dataclass
class Trials:
    """Every candidate is trained from the start. `past` ends those early that are not promising."""

    make: Make
    values: Callable[[Trial, Product], Outcome]
    past: Past | None = None

    def task(self, trial: Trial) -> Task:
        """The task whose product says what a trial is worth."""
        made = self.made(trial)
        return self.past.sent(made, trial) if self.past else made

    def made(self, trial: Trial) -> Task:
        """The task without what its product does not depend on."""
        return self.make(trial, {})

    def basis(self, first: Trial) -> str:
        """What stands for all that values depend on beside the choice: the key of the task of any trial."""
        return self.make(first, {}).key

    def read(self, trial: Trial, product: Product) -> Outcome:
        """What a product is worth."""
        found = self.values(trial, product)
        return replace(found, curve=found.curve or self.past.curve(trial, product)) if self.past else found

    def heard(self, trial: Trial) -> None:
        """Take in a trial that has ended, here or elsewhere."""
        if self.past:
            self.past.enter(trial)

    def final(self, best: Trial) -> Task | None:
        """The task that trains the winner, where no trial did."""
        return None

    def weights(self, best: Trial) -> dict[str, Task]:
        """What a training needs that goes on with the winner's weights."""
        return {PARENT: self.made(best)}

    def spent(self, trials: Iterable[Trial]) -> list[Task]:
        """The trainings that a search was made of."""
        return list(dict.fromkeys(self.made(t) for t in trials if t.state == "complete"))


@dataclass
class Inherit(Trials):
    """A candidate begins with the weights of its parent, the nearest trial that is complete.

    Nearest is the one in which the fewest decisions differ, of several the best one, which `sign` -1 says has the
    least first value. `is_there` says whether a task has a product: trials of other processes may have had other
    parents than they would have here.
    """

    sign: int = 1
    is_there: Callable[[Task], bool] = lambda task: True
    known: dict[Frozen, Task] = field(default_factory=dict)
    parents: list[tuple[Choice, float, Task]] = field(default_factory=list)
    numbers: dict[Task, int] = field(default_factory=dict)
    """The trials of the parents."""

    def made(self, trial: Trial) -> Task:
        key = (*frozen(trial.choice), ("", trial.repeat))
        if key not in self.known:
            parent = self.begun_with(trial) if trial.state == "complete" else self.parent(trial.choice)
            made = self.make(trial, {PARENT: parent} if parent else {})
            if parent:
                made = replace(made, code=digest("\n".join([made.code, *beginnings()])))
            self.known[key] = made
        return self.known[key]

    def parent(self, choice: Mapping[str, Pick]) -> Task | None:
        """The task of the parent of a choice; None for the first of all."""
        if not self.parents:
            return None
        return min(self.parents, key=lambda one: (differing(one[0], choice), -one[1]))[2]

    def begun_with(self, trial: Trial) -> Task | None:
        """The task of the trial whose weights one of the past began with, as was written down."""
        by_number = {number: task for task, number in self.numbers.items()}
        return by_number.get(trial.inherited.trial) if trial.inherited else None

    def read(self, trial: Trial, product: Product) -> Outcome:
        found, parent = super().read(trial, product), dict(self.made(trial).needs).get(PARENT)
        if parent is None:
            return found
        return replace(found, inherited=Inherited(self.numbers[parent], product.result["account"]))

    def heard(self, trial: Trial) -> None:
        super().heard(trial)
        if trial.state != "complete" or not trial.choice or trial.value is None:
            return
        made = self.made(trial)
        if self.is_there(made):
            self.parents.append((trial.choice, self.sign * trial.value, made))
            self.numbers.setdefault(made, trial.number)


def differing(a: Mapping[str, Pick], b: Mapping[str, Pick]) -> int:
    """In how many decisions two choices differ; one that is open in one of them alone counts."""
    return sum(a.get(name) != b.get(name) for name in {*a, *b})
