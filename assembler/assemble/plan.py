"""What a run still has to do: which tasks are ready, in which order, and what a failure takes with it."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from assembler.assemble.product import Product
from assembler.assemble.task import Task, closure


@dataclass(frozen=True)
class Failure:
    """A task that has no product, and why.

    Kinds: "training", "input", "store", "memory", "error" (see `worker.explain`), "died" (its worker, three times) and
    "needs" (something that it needs failed). `detail` is the full text, a traceback for "error"; `hint` says what to
    do, where that is known.
    """

    task: Task
    reason: str
    kind: str
    detail: str = ""
    hint: str = ""


class Plan:
    """The part of the tasks' closure that has to be made, and how far that is.

    A task that `find` has a product for is not made, and what it needs is not looked at for its sake.
    """

    def __init__(self, tasks: Iterable[Task], find: Callable[[Task], Product | None]) -> None:
        self.results: dict[Task, Product | Failure] = {}
        self._users: dict[Task, list[Task]] = defaultdict(list)
        self._missing: dict[Task, int] = {}
        self._ready: list[tuple[int, int, Task]] = []
        self._find = find
        order = closure(tasks, self._is_missing)
        todo = [task for task in order if task not in self.results]
        for task in todo:
            needs = {need for _, need in task.needs} - self.results.keys()
            self._missing[task] = len(needs)
            for need in needs:
                self._users[need].append(task)
        self._rank = self._ranks(todo)
        for task in todo:
            if not self._missing[task]:
                self.push(task)

    def _is_missing(self, task: Task) -> bool:
        product = self._find(task)
        if product:
            self.results[task] = product
        return product is None

    def _ranks(self, todo: list[Task]) -> dict[Task, tuple[int, int]]:
        """Longest chain of users first, then the order of the graph."""
        height: dict[Task, int] = {}
        for task in reversed(todo):
            height[task] = 1 + max((height[user] for user in self._users[task]), default=0)
        return {task: (-height[task], number) for number, task in enumerate(todo)}

    @property
    def open(self) -> bool:
        """Whether a task has neither a product nor a failure yet."""
        return bool(self._missing)

    def push(self, task: Task) -> None:
        """Make a task ready, for the first time or again."""
        heapq.heappush(self._ready, (*self._rank[task], task))

    @property
    def ready(self) -> bool:
        """Whether a task can be started."""
        return bool(self._ready)

    def pop(self) -> Task:
        """The ready task to start next."""
        return heapq.heappop(self._ready)[2]

    def done(self, task: Task, product: Product) -> None:
        """Enter a product; tasks that waited for nothing else become ready."""
        self._close(task, product)
        for user in self._users[task]:
            if user in self._missing:
                self._missing[user] -= 1
                if not self._missing[user]:
                    self.push(user)

    def fail(self, failure: Failure) -> list[Failure]:
        """Enter a failure; returns it and those of all tasks that cannot be made because of it."""
        failures = []
        stack = [failure]
        while stack:
            found = stack.pop()
            if found.task not in self._missing:
                continue
            self._close(found.task, found)
            failures.append(found)
            reason = f"needs '{failure.task.name}', which failed: {failure.reason}"
            stack += [Failure(user, reason, "needs") for user in reversed(self._users[found.task])]
        return failures

    def _close(self, task: Task, result: Product | Failure) -> None:
        del self._missing[task]
        self.results[task] = result
