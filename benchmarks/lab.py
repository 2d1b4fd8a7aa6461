"""Runs whose models are looked at one by one: what each is worth, and the FLOPs of it and of all that it stands on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from assembler import resources
from assembler.assemble.plan import Failure
from assembler.assemble.product import Product
from assembler.assemble.runner import Runner
from assembler.assemble.store import Store
from assembler.assemble.task import Task, closure
from assembler.pipeline.claims.runs import Workshop
from assembler.pipeline.spec import read
from assembler.pipeline.spending import counted
from assembler.pipeline.state import Run
from assembler.pipeline.training import test_task
from assembler.recipe.document import parse


@dataclass(frozen=True)
class Lab:
    """Carries out runs with one pool of workers; what two of them have in common is done once."""

    shop: Workshop

    def run(self, text: str, *overrides: str, seed: int) -> Run:
        """The run that a recipe's text says, all its phases done, with one seed."""
        spec = replace(read(parse(text, overrides=overrides)), seeds=(seed,))
        state = self.shop.planned(spec)
        for made in state.models.values():
            state.make(made.values())
        return state

    def test(self, run: Run, model: str) -> float:
        """The metric of a model on the test split."""
        (made,) = run.models[model].values()
        wanted = test_task(made)
        found = self.shop.runner.run([wanted])[wanted]
        if isinstance(found, Failure):
            raise RuntimeError(found.reason)
        return float(found.result["test"])


@contextmanager
def lab(workers: int = 2) -> Iterator[Lab]:
    """A lab with the store that the environment names."""
    with Runner(Store(resources.store_home()), workers) as runner:
        yield Lab(Workshop(runner, "cpu"))


def product(run: Run, model: str) -> Product:
    """What the training of a model made."""
    (made,) = run.models[model].values()
    return run.product(made)


def spent(run: Run, model: str, *, longest: bool = False) -> float:
    """FLOPs of training a model and all that it stands on, with validations that choices rest on.

    With `longest` those on its longest chain of tasks: what it takes where every task has a worker.
    """
    (end,) = run.models[model].values()
    tasks = closure([end])
    run.make(tasks)
    found = [(t, p) for t in tasks if isinstance(p := run.results.get(t), Product)]
    if not longest:
        return float(sum(counted((t.phase, p) for t, p in found).values()))
    alone = {t: float(sum(counted([("", p)]).values())) for t, p in found}
    until: dict[Task, float] = {}
    for task in tasks:
        until[task] = alone.get(task, 0.0) + max((until[need] for _, need in task.needs), default=0.0)
    return until[end]


def home(folder: str | Path) -> dict[str, str]:
    """The environment of a lab with a store of its own."""
    return {"ASSEMBLER_HOME": str(Path(folder) / "home"), "ASSEMBLER_RUNS": str(Path(folder) / "runs")}
