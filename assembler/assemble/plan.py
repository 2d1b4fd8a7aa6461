"""What a runner still has to do: which tasks are ready, in which order, and what a failure takes with it."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from assembler.assemble.product import Product
from assembler.assemble.task import Task, closure


@dataclass(frozen=True)
class Failure:
    """A task that has no product, and why.

    Kinds: "training", "input", "store", "memory", "error" (see `worker.explain`), "died" (its worker, three times),
    "time" (it took longer than it may) and "needs" (something that it needs failed). `detail` is the full text, a
    traceback for "error"; `hint` says what to do, where that is known.
    """

    task: Task
    reason: str
    kind: str
    detail: str = ""
    hint: str = ""


class Plan:
    """Tasks that have to be made, with what they need, and how far that is; tasks may be added at any time.

    A task that `find` has a product for is not made, and what it needs is not looked at for its sake.
    """

    def __init__(self, find: Callable[[Task], Product | None]) -> None:
        self._ended: dict[Task, Product | Failure] = {}
        self._users: dict[Task, list[Task]] = defaultdict(list)
        self._missing: dict[Task, int] = {}
        self._ready: list[tuple[int, int, Task]] = []
        self._rank: dict[Task, tuple[int, int]] = {}
        self._count = itertools.count()
        self._find = find

    def add(self, tasks: Iterable[Task]) -> None:
        """Plan what is missing of the tasks and of what they need; what failed before is tried again."""
        todo = [task for task in closure(tasks, self._is_new) if task not in self._ended and task not in self._missing]
        for task in todo:
            needs = {need for _, need in task.needs if need in self._missing or need not in self._ended}
            self._missing[task] = len(needs)
            for need in needs:
                self._users[need].append(task)
        self._rank |= self._ranks(todo)
        for task in todo:
            if not self._missing[task]:
                self.push(task)

    def _is_new(self, task: Task) -> bool:
        """Whether a task is to be planned; the product of one that is finished is entered at once."""
        if task in self._missing:
            return False
        self._ended.pop(task, None)
        if product := self._find(task):
            self._ended[task] = product
        return product is None

    def _ranks(self, todo: list[Task]) -> dict[Task, tuple[int, int]]:
        """Longest chain of users first, then the order of the graph."""
        height: dict[Task, int] = {}
        for task in reversed(todo):
            height[task] = 1 + max((height[user] for user in self._users[task] if user in height), default=0)
        return {task: (-height[task], next(self._count)) for task in todo}

    @property
    def open(self) -> bool:
        """Whether a task has neither a product nor a failure yet."""
        return bool(self._missing)

    def take(self) -> dict[Task, Product | Failure]:
        """What has ended since this was last asked."""
        ended, self._ended = self._ended, {}
        return ended

    @property
    def ended(self) -> bool:
        """Whether there is something to take."""
        return bool(self._ended)

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
        users = self._users.pop(task, [])
        self._close(task, product)
        for user in users:
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
            users = self._users.pop(found.task, [])
            self._close(found.task, found)
            failures.append(found)
            reason = f"needs '{failure.task.name}', which failed: {failure.reason}"
            stack += [Failure(user, reason, "needs") for user in reversed(users)]
        return failures

    def _close(self, task: Task, result: Product | Failure) -> None:
        del self._missing[task]
        del self._rank[task]
        self._ended[task] = result
