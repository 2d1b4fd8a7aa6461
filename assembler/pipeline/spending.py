"""What a run has spent: training FLOPs and seconds, by phase, for one seed's whole path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from assembler.assemble.product import Product
from assembler.assemble.task import Task, closure

if TYPE_CHECKING:
    from assembler.pipeline.state import Run


def path_tasks(run: Run, seed: int) -> list[Task]:
    """Every task that led to the tuned model of one seed: all parts that were tried, not only those that won."""
    ends = [run.models["assembled"][seed]] if "assembled" in run.models else []
    ends += [run.searches[seed]] if seed in run.searches else []
    ends += list(run.parts.get(seed, {}).values())
    ends += [made[seed] for name, made in run.models.items() if name not in run.baselines]
    return closure(ends)


def path_flops(run: Run, seed: int) -> int:
    """FLOPs of one seed's path: training, and the validation of parts and assemblies that choices rest on."""
    tasks = path_tasks(run, seed)
    run.make(tasks)  # a product that is read from the store brings nothing of what it needed
    return sum(by_phase(run, tasks).values())


def by_phase(run: Run, tasks: list[Task]) -> dict[str, int]:
    """FLOPs by phase, of training and of the validation that choices rest on.

    A failed task counts nothing, for nobody knows how far it came.
    """
    made = ((t, run.results.get(t)) for t in tasks)
    return counted((t.phase, p) for t, p in made if isinstance(p, Product))


def counted(made: Iterable[tuple[str, Product]], costs: Sequence[str] = ("train_flops", "flops")) -> dict[str, int]:
    """The FLOPs of products by phase; what several read of a cache counts once, as if that forgot nothing."""
    spent: dict[str, int] = {}
    known: set[str] = set()
    for phase, product in made:
        shared = product.result.get("shared_flops", {})
        fresh = shared.keys() - known
        known |= fresh
        own = sum(int(product.result.get(cost, 0)) for cost in costs)
        spent[phase] = spent.get(phase, 0) + own + sum(shared[key] for key in fresh)
    return spent


def seconds(run: Run, tasks: list[Task]) -> dict[str, float]:
    """Seconds of work by phase, whether done now or read from the store."""
    spent: dict[str, float] = {}
    for made in tasks:
        found = run.results.get(made)
        if isinstance(found, Product):
            spent[made.phase] = spent.get(made.phase, 0.0) + found.seconds
    return spent
