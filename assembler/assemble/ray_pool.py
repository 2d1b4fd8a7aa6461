"""Workers of a runner on a Ray cluster: each actor keeps one of our worker processes and passes its answers on.

An actor works on the store at the driver's path, or at `ASSEMBLER_HOME` where its node has one. Where that is another
disk, the products that a task needs are carried there, and what it makes is carried back.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from assembler.assemble.carry import packed, unpacked
from assembler.assemble.pool import Process
from assembler.assemble.store import Store
from assembler.assemble.task import Task
from assembler.errors import InputError, TaskError

_FINAL = ("done", "reused", "busy", "failed")
_CONNECT = 10.0  # seconds in which a cluster must be heard of
_UNBORN = 3  # workers more than there are to be that may fail to start, one after the other
_ANSWER = 30.0  # seconds in which an answer that is ready must arrive


class Seat:
    """What runs in an actor: a worker process on the store of its node."""

    def __init__(self, root: str, path: list[str]) -> None:
        sys.path += [p for p in path if p not in sys.path and os.path.exists(p)]
        self._store = Store(os.environ.get("ASSEMBLER_HOME") or root)
        self._process = Process(str(self._store.root))

    def hello(self) -> None:
        """Answer, which tells that the cluster has found a place."""

    def serve(self, request: dict[str, Any], given: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
        """The answers to a request; "missing" with keys where it needs products that are neither here nor given."""
        for key, data in given.items():
            unpacked(self._store, key, data)
        missing = [key for key in request["needs"].values() if self._store.get(key) is None]
        if missing:
            yield {"event": "missing", "keys": missing}
            return
        self._process.write(request)
        while True:
            answers = self._process.receive()
            if answers is None:
                yield {"event": "died", "how": self._process.end(now=True)}
                return
            for answer in answers:
                yield answer
                if answer["event"] in _FINAL:
                    return

    def fetch(self, key: str) -> bytes:
        """A product of this node."""
        return packed(self._store, key)


class Remote:
    """An actor and the task that it is at, if any."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.hello: Any = actor.hello.remote()
        self.ready = False
        self.task: Task | None = None
        self.begun: float | None = None
        self.stream: Any = None
        self.how = "its node or its process is gone"
        self._request: dict[str, Any] = {}

    def send(self, task: Task, request: dict[str, Any]) -> None:
        """Hand it a task."""
        self.task, self.begun = task, None
        self._request = request
        self.ask({})

    def ask(self, given: Mapping[str, bytes]) -> None:
        """Ask for the task at hand, with products that it needs."""
        self.stream = self.actor.serve.options(num_returns="streaming").remote(self._request, given)


class RayPool:
    """At most `size` actors, each with one CPU and the share `gpus` of a GPU."""

    def __init__(self, store: Store, size: int, address: str | None = None, gpus: float = 0.0) -> None:
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError:
            raise InputError("the engine 'ray' is not installed", hint="pip install 'assembler[ray]'") from None
        self.size = size
        self._store = store
        self._gpus = gpus
        self._workers: list[Remote] = []
        self._unborn = 0
        self._ours = not self._ray.is_initialized()
        if self._ours:
            self._connect(address)

    def _connect(self, address: str | None) -> None:
        more = {"include_dashboard": False} if address is None else {}
        try:
            _probe(address)
            self._ray.init(address, log_to_driver=False, logging_level="error", **more)
        except (OSError, ValueError, RuntimeError) as error:
            said = f"cannot reach a Ray cluster at {address or 'this machine'}: {str(error).splitlines()[0]}"
            raise InputError(said, hint="start one with `ray start --head`, and give its --address") from None

    def idle(self) -> Remote | None:
        """A worker without a task. New ones are begun where there may be more, but get none before the cluster has room
        for them: it may have lost what it had.
        """
        for worker in self._workers:
            if worker.task is None and worker.ready:
                return worker
        kind = self._ray.remote(num_cpus=1, num_gpus=self._gpus)(Seat)
        while len(self._workers) < self.size:
            actor = kind.remote(str(self._store.root), [os.path.abspath(p) for p in sys.path])
            self._workers.append(Remote(actor))
        return None

    def busy(self) -> list[Remote]:
        return [worker for worker in self._workers if worker.task is not None]

    def wait(self, seconds: float | None) -> Iterator[tuple[Remote, list[dict[str, Any]] | None]]:
        waiting = {w.stream if w.ready else w.hello: w for w in self._workers if w.task is not None or not w.ready}
        if not waiting:
            time.sleep(seconds or 0.0)
            return
        ready, _ = self._ray.wait(list(waiting), num_returns=1, timeout=seconds, fetch_local=False)
        for one in ready:
            worker = waiting[one]
            try:
                answers = self._heard(worker) if worker.ready else self._greeted(worker)
            except (self._ray.exceptions.RayError, StopIteration, ConnectionError) as error:
                answers = None
                self._count(worker, error)
            yield worker, answers

    def _greeted(self, worker: Remote) -> list[dict[str, Any]]:
        self._ray.get(worker.hello, timeout=_ANSWER)
        worker.ready = True
        self._unborn = 0
        return []

    def _count(self, worker: Remote, error: Exception) -> None:
        """Give up where worker after worker does not even start."""
        self._unborn += not worker.ready
        if self._unborn > self.size + _UNBORN:
            last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            hint = "is assembler installed on its nodes, with the same Python?"
            raise TaskError(f"workers do not start on the Ray cluster: {last}", hint=hint)

    def _heard(self, worker: Remote) -> list[dict[str, Any]] | None:
        """The next answer of a worker; products are carried to and fro on the way."""
        answer: dict[str, Any] = self._ray.get(next(worker.stream), timeout=_ANSWER)
        if answer["event"] == "died":
            worker.how = answer["how"]
            return None
        if answer["event"] == "missing":
            worker.ask({key: packed(self._store, key) for key in answer["keys"]})
            return []
        task = worker.task
        if answer["event"] in ("done", "reused") and task and task.kept and self._store.get(task.key) is None:
            unpacked(self._store, task.key, self._ray.get(worker.actor.fetch.remote(task.key)))
        return [answer]

    def bury(self, worker: Remote) -> str:
        self._workers.remove(worker)
        with suppress(Exception):
            self._ray.kill(worker.actor)
        return worker.how

    def close(self, *, now: bool = False) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            with suppress(Exception):
                self._ray.kill(worker.actor)
        if self._ours:
            self._ray.shutdown()


def _probe(address: str | None) -> None:
    """Raise OSError where nobody listens at an address: Ray would try for many minutes."""
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_CONNECT).close()
