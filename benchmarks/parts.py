"""Assemblies of block-wise distilled parts, chosen exactly, against other ways to a small model; Fashion-MNIST.

At three budgets of parameters: parts that were trained (all of a slot at once, then each alone), parts as they were
cut out of the teacher, equal blocks, random assemblies; and the chosen architecture from the start, as a student of
the teacher's logits or from labels alone, for as many FLOPs as all parts, the choice and the tuning took (from labels
for the teacher's FLOPs, too), and as a student for the FLOPs of choice and tuning alone, which is what a further
budget takes. At the middle budget also one architecture's parts alone against students for as many FLOPs; a random
search that trains each candidate; and whether assemblies that score well are those that tuning makes good.

Learning rates are chosen, of as many for each, by the validation of a seed that is not measured here; whether
candidates of the search learn from logits or from labels likewise.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from assembler.assemble.task import Task
from assembler.infer.cost import total, train_flops
from assembler.pipeline.state import Run
from assembler.report.numbers import spearman
from benchmarks.lab import Lab, end, lab, result
from benchmarks.library import EPOCHS, SAMPLES, TEACHER, TUNE, VALIDATION, Library, Picks, Rates
from benchmarks.measure import Figure

BUDGETS, MIDDLE = (0.6, 0.35, 0.2), 0.35
RATES = (5e-4, 1e-3, 2e-3, 4e-3)
HIGHER = (1e-3, 2e-3, 4e-3, 8e-3)
"""Learning rates of students for few FLOPs and of what learns from labels alone, which want higher ones."""
TUNING = 100
"""The seed that learning rates are chosen with."""
RANDOM = 5
"""Random assemblies at each budget."""
RANKED = 40
"""Assemblies whose order by score is compared with that by accuracy once tuned."""
MOST = 5.0
"""A search that trains every candidate is given up at this many times our FLOPs."""
LONGER = 6
"""Epochs of parts where no others are trained beside them."""
BEFORE, AFTER = "before tuning", f"after {TUNE} epochs"
STUDENT, ALONE = "from the start, logits", "from the start, labels"
AGAIN = f"{STUDENT}, for the FLOPs of choice and tuning alone"
"""What another budget costs where the parts are there."""
OURS, UNIFORM = "parts, exact choice", "parts, equal blocks"
RANKS = "Spearman of score and tuned accuracy"
TRIALS = "FLOPs to equal accuracy, parts / a training per candidate"


@dataclass
class Table:
    """Values by figure, one a seed."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """One more seed's value."""
        self.values.setdefault(name, []).append(value)

    def mean(self, name: str) -> float:
        """The mean over the seeds."""
        return statistics.fmean(self.values[name])


def figures(quick: bool) -> list[Figure]:
    """Test accuracies of every method at every budget, the rank correlation, FLOPs to equal accuracy."""
    table = Table()
    with lab() as ours:
        rates, imitate = (Rates(), True) if quick else chosen(ours)
        for seed in range(1 if quick else 3):
            for budget in (MIDDLE,) if quick else BUDGETS:
                library = Library(ours, seed, rates, budget)
                assemblies(table, library)
                students(table, library)
            library = Library(ours, seed, rates, MIDDLE)
            (worth,) = ours.tests([end(library.run(), TEACHER)])
            table.add(TEACHER, 100 * worth)
            blockwise(table, replace(library, nested=0, epochs=LONGER))
            table.add(RANKS, ranked(library, 6 if quick else RANKED))
            table.add(TRIALS, against_trials(library, 0.2 if quick else MOST, imitate=imitate))
    return list(rows(table))


def chosen(ours: Lab) -> tuple[Rates, bool]:
    """The learning rates that validate best, and whether what starts anew does better as a student."""
    found = {rate: Library(ours, TUNING, Rates(rate), MIDDLE) for rate in RATES}
    teacher, _ = best({rate: worth(run := one.run(), end(run, TEACHER)) for rate, one in found.items()})
    library = found[teacher]
    run = library.run()
    picks, flops = library.chosen(run), library.whole(run)
    tuned = {r: replace(library, rates=Rates(teacher, r)).tuned(run, picks) for r in RATES}
    tune, _ = best({r: worth(run, made) for r, made in tuned.items()})
    student, high = fresh(library, RATES, flops, imitate=True)
    labels, low = fresh(library, HIGHER, flops + library.teaching(run), imitate=False)
    brief, _ = fresh(library, HIGHER, library.further(run), imitate=True)
    one = replace(library, rates=Rates(teacher, tune), nested=0, epochs=LONGER)
    spent = one.single(run := one.run(), one.chosen(run))
    single, single_labels = (fresh(one, RATES, spent, imitate=imitate)[0] for imitate in (True, False))
    return Rates(teacher, tune, student, labels, brief, single, single_labels), high >= low


def fresh(library: Library, rates: Sequence[float], flops: float, *, imitate: bool) -> tuple[float, float]:
    """The learning rate with which the chosen architecture from the start is worth most for these FLOPs."""
    run = library.run()
    picks = library.chosen(run)
    return best({r: worth(run, library.fresh(run, picks, flops, r, imitate=imitate)) for r in rates})


def best(found: Mapping[float, float]) -> tuple[float, float]:
    """The learning rate that is worth most, and what that is."""
    return max(found.items(), key=lambda pair: pair[1])


def worth(run: Run, made: Task) -> float:
    """The validation of a model."""
    return float(result(run, made)["validation"])


def assemblies(table: Table, library: Library) -> None:
    """Every way to an assembly within the budget, before and after tuning."""
    bare = replace(library, nested=0, epochs=0)
    run, cut = library.run(), bare.run()
    _both(table, library, run, OURS, [library.chosen(run)])
    _both(table, bare, cut, "parts not trained, exact choice", [bare.chosen(cut)])
    _both(table, library, run, UNIFORM, [library.uniform(run)])
    _both(table, bare, cut, "parts not trained, equal blocks", [bare.uniform(cut)])
    _both(table, library, run, "parts, random choice", library.drawn(run, RANDOM))


def _both(table: Table, library: Library, run: Run, name: str, some: Sequence[Picks]) -> None:
    made = [library.tuned(run, picks, epochs) for epochs in (0, TUNE) for picks in some]
    found = library.lab.tests(made)
    table.add(_named(library, name, BEFORE), 100 * statistics.fmean(found[: len(some)]))
    table.add(_named(library, name, AFTER), 100 * statistics.fmean(found[len(some) :]))


def _named(library: Library, name: str, when: str = "") -> str:
    return f"{100 * library.budget:g} %: {name}" + (f", {when}" if when else "")


def students(table: Table, library: Library) -> None:
    """The chosen architecture from the start for what the library took, and for what another budget takes."""
    run, rates = library.run(), library.rates
    picks, flops = library.chosen(run), library.whole(run)
    made = [
        library.fresh(run, picks, flops, rates.student, imitate=True),
        library.fresh(run, picks, flops + library.teaching(run), rates.labels, imitate=False),
        library.fresh(run, picks, library.further(run), rates.brief, imitate=True),
    ]
    for name, found in zip((STUDENT, ALONE, AGAIN), library.lab.tests(made), strict=True):
        table.add(_named(library, name), 100 * found)


def blockwise(table: Table, library: Library) -> None:
    """One architecture's parts, with no others beside them, against students for as many FLOPs."""
    run, rates = library.run(), library.rates
    picks = library.chosen(run)
    flops = library.single(run, picks)
    made = {
        f"block by block, {BEFORE}": library.tuned(run, picks, 0),
        f"block by block, {AFTER}": library.tuned(run, picks),
        STUDENT: library.fresh(run, picks, flops, rates.single, imitate=True),
        ALONE: library.fresh(run, picks, flops, rates.single_labels, imitate=False),
    }
    for name, found in zip(made, library.lab.tests([*made.values()]), strict=True):
        table.add(_named(library, f"one architecture, {name}"), 100 * found)


def ranked(library: Library, count: int) -> float:
    """Spearman's correlation, over assemblies of any size, of validation before tuning with test accuracy after it."""
    library = replace(library, budget=1.0)
    run = library.run()
    some = library.drawn(run, count)
    untuned = [library.tuned(run, picks, 0) for picks in some]
    run.make(untuned)
    tuned = library.lab.tests([library.tuned(run, picks) for picks in some])
    return spearman([(worth(run, made), value) for made, value in zip(untuned, tuned, strict=True)]) or 0.0


def against_trials(library: Library, most: float, *, imitate: bool) -> float:
    """Our FLOPs over those of a random search that trains every candidate as long as the teacher, till it is as good.

    By validation, teacher included. A search that is not as good at `most` times our FLOPs is given up there.
    """
    run = library.run()
    goal = worth(run, library.tuned(run, library.chosen(run)))
    ours = library.whole(run) + library.teaching(run)
    used = library.teaching(run) if imitate else 0.0
    for n in range(1, 10_000):
        picks = library.drawn(run, n)[-1]
        graph = library.graph(run, picks)
        flops = train_flops(graph) * SAMPLES * EPOCHS
        rate = library.rates.student if imitate else library.rates.labels
        made = library.fresh(run, picks, flops, rate, imitate=imitate)
        used += flops + total(graph).flops * VALIDATION
        if worth(run, made) >= goal or used >= most * ours:
            break
    return ours / used


def rows(table: Table) -> Iterator[Figure]:
    """The figures with their goals."""
    before = _at_middle(OURS, BEFORE)
    lost = table.mean(TEACHER) - table.mean(before)
    won = table.mean(before) - table.mean(_at_middle(STUDENT))
    goals = {
        before: (f"within 1 point of {TEACHER}, >= 5 above {STUDENT}", lost <= 1 and won >= 5),
        RANKS: (">= 0.6", table.mean(RANKS) >= 0.6),
        TRIALS: ("<= 0.2", table.mean(TRIALS) <= 0.2),
    }
    for name, values in table.values.items():
        goal, holds = goals.get(name, ("reported", True))
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        yield Figure(name, table.mean(name), goal, holds, "", deviation, len(values))


def _at_middle(name: str, when: str = "") -> str:
    return f"{100 * MIDDLE:g} %: {name}" + (f", {when}" if when else "")
