"""The processes that torchrun starts as one worker: the first runs the recipe, and all of them work at each task.

What a task trains they train together (`assembler.train.parallel`); everything else each does by itself, with the same
result, and the first alone writes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from assembler.assemble.store import Store
from assembler.assemble.task import Task
from assembler.assemble.worker import Server
from assembler.errors import AssemblerError, PrunedError, TaskError, TrainingError, placed
from assembler.train.world import How, World, together

_ALIKE = (TrainingError, PrunedError)
"""Failures that come of the values of a whole batch, which all processes have: they go on together."""
_PATIENCE = timedelta(days=30)  # a process waits while the first one plans; one that is gone is noticed at once
_AGAIN = "run the same command again: what is finished is kept"


class Ranks:
    """The one worker of a run, in its first process; tasks are worked at in a thread, so that signals are heard."""

    def __init__(self, store: Store, how: How, device: torch.device) -> None:
        self.task: Task | None = None
        self.begun: float | None = None
        self._left = False
        self._requests: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._answers: SimpleQueue[dict[str, Any] | BaseException] = SimpleQueue()
        self._world = _joined(how, device)
        server = _First(store, self._answers.put, self._world)
        self._thread = threading.Thread(target=self._work, args=(server, device), daemon=True)
        self._thread.start()
        signal.signal(signal.SIGTERM, _ended)

    def _work(self, server: _First, device: torch.device) -> None:
        try:
            _settle(device)
            with together(self._world):
                while (request := self._requests.get()) is not None:
                    server.serve(request)
            _shared(None)
        except BaseException as error:
            self._answers.put(error)

    def send(self, task: Task, request: dict[str, Any]) -> None:
        """Hand it a task."""
        self.task, self.begun = task, None
        self._requests.put(request)

    def idle(self) -> Ranks | None:
        return self if self.task is None else None

    def busy(self) -> list[Ranks]:
        return [] if self.task is None else [self]

    def wait(self, seconds: float | None) -> Iterator[tuple[Ranks, list[dict[str, Any]]]]:
        try:
            answer = self._answers.get(timeout=seconds)
        except Empty:
            return
        if isinstance(answer, BaseException):
            raise answer
        yield self, [answer]

    def bury(self, worker: Ranks) -> str:
        raise TaskError("one task of processes that work together cannot be ended alone", hint=_AGAIN)

    def close(self, *, now: bool = False) -> None:
        if now:
            self._left = True  # in the midst of a task: the others hear of it when this process ends
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which is about to say why
        elif not self._left:
            self._requests.put(None)
            self._thread.join()
            dist.destroy_process_group()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _First(Server):
    """Makes products in the first process, once the others have begun with the same."""

    def __init__(self, store: Store, tell: Callable[[dict[str, Any]], None], world: World) -> None:
        super().__init__(store)
        self._tell_answer = tell
        self._world = world

    def answer(self, event: str, **facts: Any) -> None:
        self._tell_answer({"event": event, **facts})

    def _call(self, request: dict[str, Any], out: Path = Path(os.devnull)) -> dict[str, Any]:
        request["about"] = {**request["about"], "processes": {"count": self._world.size, "parallel": self._world.how}}
        _shared(request)
        return super()._call(request, out)

    def fail(self, error: BaseException) -> None:
        """Go on where the others have met the same; else nobody knows where they are, and the run ends."""
        if isinstance(error, _ALIKE):
            super().fail(error)
        elif isinstance(error, AssemblerError):
            raise error
        else:
            raise TaskError(_apart(error), hint=_AGAIN) from error


class _Other(Server):
    """Works at what the first process works at, and keeps nothing."""

    def serve(self, request: dict[str, Any]) -> None:
        with TemporaryDirectory() as out, suppress(*_ALIKE):
            self._call(request, Path(out))

    def answer(self, event: str, **facts: Any) -> None:
        pass


def follow(root: Path, how: How, device: torch.device) -> None:
    """Work with the first process of a run, on the same store, until it has ended.

    Raises TaskError where the processes could not go on together.
    """
    world = _joined(how, device)
    server = _Other(Store(root))
    try:
        with together(world):
            while (request := _shared(None)) is not None:
                server.serve(request)
    except RuntimeError as error:
        raise TaskError(f"process {world.rank}: {_apart(error)}", hint=_AGAIN) from error
    dist.destroy_process_group()


def _joined(how: How, device: torch.device) -> World:
    _settle(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    return World(dist.get_rank(), dist.get_world_size(), how)


def _settle(device: torch.device) -> None:
    """Let this thread of this process have a GPU of its own."""
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def _shared(request: dict[str, Any] | None) -> dict[str, Any] | None:
    """The request that the first process gives; None means that there will be no more."""
    held = [request]
    dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
    return held[0]


def _apart(error: BaseException) -> str:
    """Why processes do not go on together, in a line."""
    if isinstance(error, RuntimeError) and "Connection" in str(error):
        return "another process of this run has died"
    return f"the processes could not go on together: {placed(error)}"


def _ended(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise TaskError("this run was ended from outside, or one of its processes died", hint=_AGAIN)
