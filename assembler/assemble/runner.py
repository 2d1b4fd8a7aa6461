"""Runs a graph of tasks: reads what is finished, makes the rest in worker processes, isolates what fails."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from assembler.assemble.plan import Failure, Plan
from assembler.assemble.pool import Pool, Worker, Workers
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
    `seconds` is the time that making it took; `reason` comes with "failed" and
    "pruned".
    """

    kind: Literal["started", "progress", "done", "failed", "pruned", "reused"]
    task: Task
    step: int = 0
    total: int = 0
    info: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""


class Runner:
    """Makes tasks with up to `workers` child processes on one store; a context manager that ends them.

    `on_event` is called for every event, in the thread that called `run` or `wait`. Only functions of `packages` are
    run. A task that is at work for more than `limit` seconds is ended and has failed. `pool` are workers elsewhere.
    What `describe` says of a task, in plain data, goes into its product's card as `about`, for people.
    Workers end with the thread that started them, so call from one that lives on.
    """

    def __init__(
        self,
        store: Store,
        workers: int = 1,
        on_event: Callable[[Event], None] | None = None,
        *,
        packages: tuple[str, ...] = ("assembler",),
        limit: float | None = None,
        pool: Workers | None = None,
        describe: Callable[[Task], Mapping[str, Any]] | None = None,
    ) -> None:
        if workers < 1:
            raise TaskError(f"a run needs at least one worker, not {workers}")
        self.store = store
        self.workers = workers
        self._pool: Workers = pool or Pool(str(store.root), workers)
        self._tell = on_event or (lambda event: None)
        self._packages = packages
        self._limit = limit
        self._describe = describe or (lambda task: {})
        self._plan = Plan(self._find)
        self._parked: list[tuple[float, Task]] = []
        self._deaths: Counter[Task] = Counter()

    def __enter__(self) -> Self:
        self.store.clean()
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.close(now=self._plan.open)
        self.store.clean()

    def run(self, tasks: Iterable[Task]) -> dict[Task, Product | Failure]:
        """A product or a failure for each task, and for each task that had to be made or read for its sake.

        What one task's failure does not concern goes on. An interrupt ends the workers and leaves the store whole.
        """
        self.submit(tasks)
        results: dict[Task, Product | Failure] = {}
        while ended := self.wait():
            results |= ended
        return results

    def submit(self, tasks: Iterable[Task]) -> None:
        """Take tasks in; they are worked at while `wait` waits. What has failed before is tried again."""
        self._plan.add(self._allowed(tasks))

    def wait(self, seconds: float | None = None) -> dict[Task, Product | Failure]:
        """What has ended since the last call, of the tasks taken in and of what they need; waits until there is some.

        Empty where nothing is open, or nothing ended within that many seconds.
        """
        plan, end = self._plan, None if seconds is None else time.monotonic() + seconds
        try:
            while plan.open and not plan.ended:
                self._start(plan)
                for worker, answers in self._pool.wait(self._pause(end)):
                    if answers is None:
                        self._died(plan, worker)
                    for answer in answers or ():
                        self._hear(plan, worker, answer)
                self._stop_late(plan)
                if end is not None and time.monotonic() >= end:
                    break
            self._start(plan)
        except BaseException:
            self._plan = Plan(self._find)
            self._pool.close(now=True)
            self.store.clean()
            raise
        return plan.take()

    def _pause(self, end: float | None) -> float | None:
        """How long the workers may be waited for before something else is due."""
        now = time.monotonic()
        due = [_PAUSE] if self._parked else []
        due += [end - now] if end is not None else []
        if self._limit is not None:
            due += [w.begun + self._limit - now for w in self._pool.busy() if w.begun is not None]
        return max(0.0, min(due)) if due else None

    def _stop_late(self, plan: Plan) -> None:
        """End the workers whose tasks take longer than they may."""
        for worker in self._pool.busy() if self._limit is not None else ():
            if worker.begun is None or time.monotonic() < worker.begun + (self._limit or 0.0):
                continue
            task = worker.task
            self._pool.bury(worker)
            if task is not None:
                reason = f"it took longer than {self._limit:g} s and was ended"
                self._fail(plan, Failure(task, reason, "time", hint="allow it more time"))

    def _allowed(self, tasks: Iterable[Task]) -> list[Task]:
        tasks = list(tasks)
        for task in closure(tasks):
            if task.run.partition(":")[0].partition(".")[0] not in self._packages:
                raise TaskError(f"task '{task.name}' runs {task.run}, which is not part of {', '.join(self._packages)}")
        return tasks

    def _find(self, task: Task) -> Product | None:
        product = self.store.get(task.key) if task.kept else None
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
            worker.send(task, {**_request(task), "about": dict(self._describe(task)) if task.kept else {}})

    def _hear(self, plan: Plan, worker: Worker, answer: dict[str, Any]) -> None:
        task = worker.task
        assert task is not None
        event = answer.pop("event")
        if event in ("started", "progress"):
            worker.begun = time.monotonic() if event == "started" or worker.begun is None else worker.begun
            self._tell(Event(event, task, **answer))
            return
        worker.task = None
        if event == "busy":
            self._parked.append((time.monotonic() + _PAUSE, task))
        elif event == "failed":
            self._fail(plan, Failure(task, **answer))
        else:
            self._done(plan, task, event, answer)

    def _done(self, plan: Plan, task: Task, event: Literal["done", "reused"], answer: dict[str, Any]) -> None:
        card: dict[str, Any] = {"result": answer.get("result"), "seconds": answer.get("seconds"), "files": {}}
        product = self.store.get(task.key) if task.kept else Product(task.key, self.store.root, card)
        if product is None:
            reason = f"its product has been removed from {self.store.root} while the run went on"
            self._fail(plan, Failure(task, reason, "store"))
            return
        del self._deaths[task]
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
        del self._deaths[failure.task]
        for found in plan.fail(failure):
            self._tell(Event("pruned" if found.kind == "pruned" else "failed", found.task, reason=found.reason))


def _request(task: Task) -> dict[str, Any]:
    names = ("run", "code", "key", "label", "phase", "kept")
    return {
        **{name: getattr(task, name) for name in names},
        "inputs": task.parameters,
        "beside": dict(task.beside),
        "needs": {name: need.key for name, need in task.needs},
        "plugins": [str(file) for file in plugins()],
    }
