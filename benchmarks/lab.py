"""Runs whose models are looked at one by one: what each is worth, and the FLOPs of it and of all that it stands on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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

    def tests(self, wanted: Sequence[Task]) -> list[float]:
        """The metrics of trained models on the test split."""
        tasks = [test_task(made) for made in wanted]
        found = self.shop.runner.run(tasks)
        if failed := [f for f in found.values() if isinstance(f, Failure)]:
            raise RuntimeError(failed[0].reason)
        return [float(made.result["test"]) for t in tasks if isinstance(made := found[t], Product)]


@contextmanager
def lab(workers: int = 2) -> Iterator[Lab]:
    """A lab with a store of its own, or with that which ASSEMBLER_HOME names: there a bench goes on where it was."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("ASSEMBLER_HOME", str(Path(folder) / "home"))
        with Runner(Store(resources.store_home()), workers) as runner:
            yield Lab(Workshop(runner, "cpu"))


def end(run: Run, model: str) -> Task:
    """The task that makes a model of a run with one seed."""
    (made,) = run.models[model].values()
    return made


def result(run: Run, made: Task) -> Mapping[str, Any]:
    """What is known of a trained model: `validation`, `before`, `steps`, `train_flops`."""
    return run.product(made).result


def spent(run: Run, ends: Iterable[Task]) -> float:
    """FLOPs of trainings and all that they stand on, with validations that choices rest on."""
    return float(sum(counted((t.phase, p) for t, p in _finished(run, ends)).values()))


def chain(run: Run, made: Task) -> float:
    """FLOPs of the longest chain of trainings that a model stands on: what it takes where each has a worker."""
    alone = {t: float(sum(counted([("", p)]).values())) for t, p in _finished(run, [made])}
    until: dict[Task, float] = {}
    for one in closure([made]):
        until[one] = alone.get(one, 0.0) + max((until[need] for _, need in one.needs), default=0.0)
    return until[made]


def _finished(run: Run, ends: Iterable[Task]) -> list[tuple[Task, Product]]:
    tasks = closure(list(ends))
    run.make(tasks)
    return [(t, p) for t in tasks if isinstance(p := run.results.get(t), Product)]
