"""The child process that runs tasks, one at a time on one thread, and dies with its parent.

Requests come as JSON lines on stdin, answers leave as JSON lines on what was stdout; prints go to stderr:
    {"run", "inputs", "code", "key", "label", "phase", "kept", "beside": {}, "needs": {name: key},
     "about": {}, "plugins": [file]}
    {"event": "started" | "progress" | "done" | "reused" | "busy" | "failed", ...}
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from assembler.assemble.job import Job
from assembler.assemble.product import Product
from assembler.assemble.store import Store, is_full
from assembler.assemble.task import canonical
from assembler.errors import AssemblerError, PrunedError, StoreError, TaskError, TrainingError, placed

_PR_SET_PDEATHSIG = 1


def main(root: str) -> None:
    """Serve requests on the store at `root` until stdin closes."""
    requests, answers = _take_pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the parent decides
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # also where native code holds the interpreter
    inbox: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_watch, args=(requests, inbox), daemon=True).start()
    server = Server(Store(root), answers)
    while True:
        server.serve(json.loads(inbox.get()))


def _take_pipes() -> tuple[IO[str], IO[str]]:
    """The protocol's pipes on descriptors of our own: neither a print nor a read of the job's can disturb it."""
    requests, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, answers


def _watch(requests: IO[str], inbox: SimpleQueue[str]) -> None:
    for line in requests:
        inbox.put(line)
    os._exit(0)  # the parent is gone or done with us: stop at once, even in the middle of a task


class Server:
    """Runs one request after the other and answers each."""

    def __init__(self, store: Store, answers: IO[str] | None = None) -> None:
        self.store = store
        self._answers = answers

    def serve(self, request: dict[str, Any]) -> None:
        """Make the requested product, or say that it is there, that another process makes it, or why it failed."""
        try:
            if not request["kept"]:
                self.answer("done", **self._call(request))
                return
            with self.store.lock(request["key"], wait=False) as held:
                event = self._make(request) if held else "busy"
            self.answer(event)  # once the lock is free: what the parent does next must not meet it
        except (Exception, SystemExit) as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Tell why the request at hand has failed."""
        self.answer("failed", **explain(error, self.store))

    def answer(self, event: str, **facts: Any) -> None:
        """Send one line to the parent."""
        print(json.dumps({"event": event, **facts}), file=self._answers, flush=True)

    def _make(self, request: dict[str, Any]) -> str:
        if self.store.get(request["key"]):
            return "reused"
        with self.store.scratch(request["key"]) as out:
            found = self._call(request, out)
            card = {name: request[name] for name in ("run", "inputs", "code", "label", "phase", "needs", "about")}
            self.store.commit(out, request["key"], {**card, **found})
        return "done"

    def _call(self, request: dict[str, Any], out: Path = Path(os.devnull)) -> dict[str, Any]:
        """Result and seconds of the requested function."""
        function = _load(request["run"], request.get("plugins", ()))
        if request["kept"]:  # else the function says itself when it is ready
            self.answer("started")
        begin = time.perf_counter()
        needs = {name: self._need(name, key) for name, key in request["needs"].items()}
        _seed(request["key"])
        told = self._tell, lambda: self.answer("started"), request.get("beside", {}), self.store.values
        result = function(Job(request["inputs"], needs, out, *told))
        if not isinstance(result, dict):
            raise TaskError(f"{request['run']} returned {type(result).__name__}, not a dict of plain data")
        canonical(result, "result")
        return {"result": result, "seconds": round(time.perf_counter() - begin, 4)}

    def _tell(self, step: int, total: int, info: Mapping[str, Any]) -> None:
        self.answer("progress", step=step, total=total, info=info)

    def _need(self, name: str, key: str) -> Product:
        product = self.store.get(key)
        if product is None:
            raise StoreError(f"the needed product '{name}' ({key[:8]}) has been removed from {self.store.root}")
        return product


def explain(error: BaseException, store: Store) -> dict[str, str]:
    """Kind, one-line reason and detail of a failure.

    Kinds: "training" (diverged), "pruned" (given up; the detail is its curve), "input" (the user's), "store" (disk),
    "memory", and "error" for what nobody foresaw.
    """
    if isinstance(error, Exception) and is_full(error) and not isinstance(error, StoreError):
        error = store.failure(error, store.tmp)
    if isinstance(error, PrunedError):
        reason = "; ".join(p.message for p in error.problems)
        return {"kind": "pruned", "reason": reason, "detail": json.dumps(error.curve)}
    if isinstance(error, AssemblerError):
        reasons = {"reason": "; ".join(p.message for p in error.problems), "detail": str(error)}
        return {"kind": _kind(error), **reasons, "hint": "; ".join(p.hint for p in error.problems if p.hint)}
    detail = "".join(traceback.format_exception(error))
    return {"kind": "memory" if _is_memory(error) else "error", "reason": placed(error), "detail": detail}


def _kind(error: AssemblerError) -> str:
    if isinstance(error, TrainingError):
        return "training"
    if isinstance(error, StoreError):
        return "store"
    return "input" if error.exit_code == 2 else "error"


def _is_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _load(run: str, plugins: list[str]) -> Any:
    module, _, name = run.partition(":")
    if plugins:
        from assembler.registry import add_plugin

        for file in plugins:
            add_plugin(file)
    function = getattr(importlib.import_module(module), name)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    return function


def _seed(key: str) -> None:
    """Start all global generators from the key: a job that draws from them must not depend on what ran before it."""
    seed = int(key[:8], 16)
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)
