"""The worker processes of a run: started when first needed, kept warm, replaced when they die."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from assembler.assemble.task import Task

# The child sees the modules that the parent sees; -P keeps a stray json.py of the working directory out until then.
_START = "import sys; sys.path[:] = sys.argv[2:]; from assembler.assemble.worker import main; main(sys.argv[1])"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_GRACE = 2.0  # seconds that an idle worker gets to leave by itself


class Worker(Protocol):
    """One that works at a task at a time: `task` is the one that it is at, `begun` when it began with it."""

    task: Task | None
    begun: float | None

    def send(self, task: Task, request: dict[str, Any]) -> None:
        """Hand it a task."""


class Workers(Protocol):
    """Workers of a runner, here or elsewhere."""

    def idle(self) -> Worker | None:
        """A worker without a task, a new one if all are busy and there may be more, else None."""

    def busy(self) -> list[Any]:
        """The workers that are at a task."""

    def wait(self, seconds: float | None) -> Iterable[tuple[Any, list[dict[str, Any]] | None]]:
        """Workers that have something to say within that time, with their answers; None stands for a death."""

    def bury(self, worker: Any) -> str:
        """Take a worker out, ending it where it is still alive; returns how it ended."""

    def close(self, *, now: bool = False) -> None:
        """End all workers; with `now` in the middle of what they do."""


class Process:
    """One child process and the task that it is at, if any. `device` is the GPU that it sees, all of them if empty."""

    def __init__(self, root: str, device: str = "") -> None:
        self.task: Task | None = None
        self.begun: float | None = None
        self.device = device
        self._rest = b""
        path = [os.path.abspath(p) for p in sys.path]
        # Text hashes would else differ between workers, and with them the order of sets.
        env = {**os.environ, **dict.fromkeys(_THREADS, "1"), "PYTHONHASHSEED": "0"}
        if device:
            env["CUDA_VISIBLE_DEVICES"] = device
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, root, *path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=env,
        )
        assert self.process.stdin and self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def send(self, task: Task, request: dict[str, Any]) -> None:
        """Hand it a task. A worker that has just died does not complain here: `receive` tells."""
        self.task, self.begun = task, None
        self.write(request)

    def write(self, request: dict[str, Any]) -> None:
        """Write a request as one line."""
        line = json.dumps(request).encode() + b"\n"
        with suppress(BrokenPipeError):
            while line:
                line = line[self.stdin.write(line) :]

    def receive(self) -> list[dict[str, Any]] | None:
        """The answers that have arrived, or None where the process is dead."""
        data = os.read(self.stdout.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None

    def end(self, *, now: bool = False) -> str:
        """Stop it, at once or as soon as it has read that it may; returns how it ended, in words."""
        if now:
            self.process.kill()
        self.stdin.close()
        try:
            code = self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.stdout.close()
        return _say(code)


def _say(code: int) -> str:
    if code >= 0:
        return f"it exited with code {code}"
    name = signal.Signals(-code).name
    return f"it was ended by {name}" + (", often a lack of memory" if name == "SIGKILL" else "")


class Pool:
    """At most `size` child processes on one store, each on the one of `devices` that has the fewest of them."""

    def __init__(self, root: str, size: int, devices: Sequence[str] = ()) -> None:
        self.size = size
        self._root = root
        self._devices = devices
        self._workers: list[Process] = []

    def idle(self) -> Process | None:
        for worker in self._workers:
            if worker.task is None:
                return worker
        if len(self._workers) == self.size:
            return None
        taken = Counter(worker.device for worker in self._workers)
        device = min(self._devices, key=lambda d: taken[d], default="")
        worker = Process(self._root, device)
        self._workers.append(worker)
        return worker

    def busy(self) -> list[Process]:
        return [worker for worker in self._workers if worker.task is not None]

    def wait(self, seconds: float | None) -> Iterator[tuple[Process, list[dict[str, Any]] | None]]:
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.stdout, selectors.EVENT_READ, worker)
            heard = [key.data for key, _ in selector.select(seconds)]
        for worker in heard:
            yield worker, worker.receive()

    def bury(self, worker: Process) -> str:
        self._workers.remove(worker)
        return worker.end(now=True)

    def close(self, *, now: bool = False) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            if now:
                worker.process.kill()
            with suppress(OSError):
                worker.stdin.close()
        for worker in workers:
            worker.end()
