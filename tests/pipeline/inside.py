"""Workers that are this process: what a worker process does, without the seconds that it takes to start one."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from assembler.assemble.store import Store
from assembler.assemble.task import Task
from assembler.assemble.worker import Server
from assembler.pipeline.search import run as searching


class Inside:
    """One worker, which does its task as it is sent."""

    def __init__(self, store: Store) -> None:
        self.task: Task | None = None
        self.begun: float | None = None
        self._store = store
        self._answers: list[dict[str, Any]] = []

    def send(self, task: Task, request: dict[str, Any]) -> None:
        self.task, self.begun = task, None
        said = io.StringIO()
        Server(self._store, said).serve(json.loads(json.dumps(request)))
        self._answers += map(json.loads, said.getvalue().splitlines())

    def idle(self) -> Inside | None:
        return self if self.task is None else None

    def busy(self) -> list[Inside]:
        return [self] if self.task is not None else []

    def wait(self, seconds: float | None) -> Iterator[tuple[Inside, list[dict[str, Any]]]]:
        answers, self._answers = self._answers, []
        yield self, answers

    def bury(self, worker: Inside) -> str:
        self.task = None
        return "it was ended"

    def close(self, *, now: bool = False) -> None:
        self.task = None


def search_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let searches work in this process."""
    monkeypatch.setattr(searching, "make_pool", lambda engine, store, workers, **where: Inside(store))
