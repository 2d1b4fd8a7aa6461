"""Trials evaluated as tasks of a runner: by worker processes, or by workers on other machines."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable

from assembler.assemble.plan import Failure
from assembler.assemble.product import Product
from assembler.assemble.runner import Runner
from assembler.assemble.task import Task
from assembler.errors import StoreError
from assembler.pipeline.search.pruning import points
from assembler.search.evaluators import Outcome
from assembler.search.judge import say
from assembler.search.trial import Trial


class ByTasks:
    """An evaluator: `task_of` a trial is what is made of it, `read` what its product is worth; `heard` gets ended ones.

    A task that fails fails its trial alone; a store that cannot be written ends the search with a StoreError.
    """

    def __init__(
        self,
        runner: Runner,
        workers: int,
        task_of: Callable[[Trial], Task],
        read: Callable[[Trial, Product], Outcome],
        heard: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        self.workers = workers
        self._runner = runner
        self._task_of = task_of
        self._read = read
        self._heard = heard
        self._open: defaultdict[Task, list[Trial]] = defaultdict(list)
        self._failed: list[tuple[int, Outcome]] = []

    def submit(self, trial: Trial) -> None:
        try:
            task = self._task_of(trial)
        except Exception as error:
            self._failed.append((trial.number, Outcome(None, say(error), "failed")))
            return
        self._open[task].append(trial)
        self._runner.submit([task])

    def wait(self, seconds: float | None) -> list[tuple[int, Outcome]]:
        found, self._failed = self._failed, []
        if found:
            return found
        for task, result in self._runner.wait(seconds).items():
            found += [(trial.number, self._outcome(trial, result)) for trial in self._open.pop(task, [])]
        return found

    def heard(self, trial: Trial) -> None:
        self._heard(trial)

    def _outcome(self, trial: Trial, result: Product | Failure) -> Outcome:
        if isinstance(result, Product):
            return self._read(trial, result)
        if result.kind == "store":
            raise StoreError(result.reason, hint=result.hint)
        if result.kind == "pruned":
            return Outcome(None, result.reason, "pruned", points(json.loads(result.detail)))
        return Outcome(None, result.reason, "failed")
