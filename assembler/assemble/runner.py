"""Runs a graph of tasks: reads what is finished, makes the rest in worker processes, isolates what fails."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from assembler.assemble.plan import Failure, Plan
from assembler.assemble.pool import Pool, Worker
from assembler.assemble.product import Product
from assembler.assemble.store import Store
from assembler.assemble.task import Task, closure
from assembler.errors import TaskError
from assembler.registry import plugins

_DEATHS = 3  # a task that costs so many workers is given up
_PAUSE = 0.1  # seconds before a task that another process makes is looked at again


@dataclass(frozen=True)
class Event:
    """Something that happened to a task.

    `step`, `total` and `info` come with "progress"; `info` is the product's result with "done" and "reused";
    `seconds` is the time that making it took; `reason` comes with "failed".
    """

    kind: Literal["started", "progress", "done", "failed", "reused"]
    task: Task
    step: int = 0
    total: int = 0
    info: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""


class Runner:
    """Makes tasks with up to `workers` child processes on one store; a context manager that ends them.

    `on_event` is called for every event, in the thread that called `run`. Only functions of `packages` are run.
    Workers end with the thread that started them, so call `run` from one that lives on.
    """

    def __init__(
        self,
        store: Store,
        workers: int = 1,
        on_event: Callable[[Event], None] | None = None,
        *,
        packages: tuple[str, ...] = ("assembler",),
    ) -> None:
        if workers < 1:
            raise TaskError(f"a run needs at least one worker, not {workers}")
        self.store = store
        self._pool = Pool(str(store.root), workers)
        self._tell = on_event or (lambda event: None)
        self._packages = packages
        self._parked: list[tuple[float, Task]] = []
        self._deaths: Counter[Task] = Counter()

    def __enter__(self) -> Self:
        self.store.clean()
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.close()
        self.store.clean()

    def run(self, tasks: Iterable[Task]) -> dict[Task, Product | Failure]:
        """A product or a failure for each task, and for each task that had to be made or read for its sake.

        What one task's failure does not concern goes on. An interrupt ends the workers and leaves the store whole.
        """
        plan = Plan(self._allowed(tasks), self._find)
        self._parked, self._deaths = [], Counter()
        try:
            while plan.open:
                self._start(plan)
                for worker, answers in self._pool.wait(_PAUSE if self._parked else None):
                    if answers is None:
                        self._died(plan, worker)
                    for answer in answers or ():
                        self._hear(plan, worker, answer)
        except BaseException:
            self._pool.close(now=True)
            self.store.clean()
            raise
        return plan.results

    def _allowed(self, tasks: Iterable[Task]) -> list[Task]:
        tasks = list(tasks)
        for task in closure(tasks):
            if task.run.partition(":")[0].partition(".")[0] not in self._packages:
                raise TaskError(f"task '{task.name}' runs {task.run}, which is not part of {', '.join(self._packages)}")
        return tasks

    def _find(self, task: Task) -> Product | None:
        product = self.store.get(task.key)
        if product:
            self._tell(Event("reused", task, info=product.result, seconds=product.seconds))
        return product

    def _start(self, plan: Plan) -> None:
        """Give ready tasks to idle workers."""
        now = time.monotonic()
        for due, task in [entry for entry in self._parked if entry[0] <= now]:
            self._parked.remove((due, task))
            plan.push(task)
        while plan.ready and (worker := self._pool.idle()):
            task = plan.pop()
            worker.send(task, _request(task))

    def _hear(self, plan: Plan, worker: Worker, answer: dict[str, Any]) -> None:
        task = worker.task
        assert task is not None
        event = answer.pop("event")
        if event in ("started", "progress"):
            self._tell(Event(event, task, **answer))
            return
        worker.task = None
        if event == "busy":
            self._parked.append((time.monotonic() + _PAUSE, task))
        elif event == "failed":
            self._fail(plan, Failure(task, **answer))
        else:
            self._done(plan, task, event)

    def _done(self, plan: Plan, task: Task, event: Literal["done", "reused"]) -> None:
        product = self.store.get(task.key)
        if product is None:
            reason = f"its product has been removed from {self.store.root} while the run went on"
            self._fail(plan, Failure(task, reason, "store"))
            return
        plan.done(task, product)
        self._tell(Event(event, task, info=product.result, seconds=product.seconds))

    def _died(self, plan: Plan, worker: Worker) -> None:
        """Forget a dead worker and try its task again, unless that has cost too many already."""
        task, how = worker.task, self._pool.bury(worker)
        if task is None:
            return
        self._deaths[task] += 1
        if self._deaths[task] < _DEATHS:
            plan.push(task)  # a product that it finished before it died is found then
        else:
            self._fail(plan, Failure(task, f"its worker died {_DEATHS} times; the last time {how}", "died"))

    def _fail(self, plan: Plan, failure: Failure) -> None:
        for found in plan.fail(failure):
            self._tell(Event("failed", found.task, reason=found.reason))


def _request(task: Task) -> dict[str, Any]:
    names = ("run", "code", "key", "label", "phase")
    return {
        **{name: getattr(task, name) for name in names},
        "inputs": task.parameters,
        "needs": {name: need.key for name, need in task.needs},
        "plugins": [str(file) for file in plugins()],
    }
