"""Real jobs of a few milliseconds, a graph of them, and a script that runs it and can be killed."""

from __future__ import annotations

import ctypes
import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from assembler.assemble.job import Job
from assembler.assemble.plan import Failure
from assembler.assemble.runner import Runner
from assembler.assemble.store import Store
from assembler.assemble.task import Task, task
from assembler.errors import InputError, TrainingError
from assembler.registry import lookup


def mark(name: str) -> int:
    """Leave a mark that `name` ran, outside the store; returns how many there are now."""
    path = Path(os.environ["TEST_MARKS"]) / name
    with path.open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    return len(path.read_text().splitlines())


def add(job: Job) -> dict[str, Any]:
    """The sum of the needed values and its own, after some sleep; the value is in a file too."""
    mark(job.inputs["name"])
    steps = 4
    for step in range(1, steps + 1):
        time.sleep(job.inputs.get("ms", 0) / 1000 / steps)
        job.log({"step": step, "loss": 1 / step})
        job.progress(step, steps, {"loss": 1 / step})
    read = sum(int(need.file("weights.safetensors").read_text()) for need in job.needs.values())
    total = job.inputs["value"] + read
    (job.out / "weights.safetensors").write_text(str(total))
    return {"total": total, "names": sorted(job.needs)}


def draw(job: Job) -> dict[str, Any]:
    """Numbers from generators that the job forgot to seed."""
    return {"drawn": [random.random() for _ in range(3)], "order": list({"a", "b", "c", *job.inputs})}


def noisy(job: Job) -> dict[str, Any]:
    """Prints where the protocol would be, and reads where requests come from."""
    print('{"event": "done"}', flush=True)
    os.write(1, b"raw bytes \xff\n")
    return {"read": sys.stdin.read() if not sys.stdin.closed else ""}


def diverge(job: Job) -> dict[str, Any]:
    """Stops as training does when the loss is no longer finite."""
    raise TrainingError("the loss is nan at step 3", hint="lower the learning rate")


def misread(job: Job) -> dict[str, Any]:
    """Misses a file that the user named."""
    raise InputError("no file digits.npz")


def crash(job: Job) -> dict[str, Any]:
    """A mistake that nobody foresaw."""
    return {"x": [][1]}


def leave(job: Job) -> dict[str, Any]:
    """Ends the program, as a library may."""
    sys.exit(3)


def hungry(job: Job) -> dict[str, Any]:
    """Asks for more memory than there is."""
    raise MemoryError("cannot allocate 9 TB")


def unplain(job: Job) -> dict[str, Any]:
    """Returns what JSON cannot say."""
    return {"scores": [1.0, float("nan")]}


def die(job: Job) -> dict[str, Any]:
    """Takes its worker along the first `times` times."""
    if mark(job.inputs["name"]) <= job.inputs["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"alive": True}


def stuck(job: Job) -> dict[str, Any]:
    """Sleeps in native code without letting go of the interpreter."""
    job.progress(1, 1)
    ctypes.PyDLL(None).sleep(60)
    return {}


def plugged(job: Job) -> dict[str, Any]:
    """Calls an op of a plug-in."""
    return {"y": lookup("op", job.inputs["op"]).load()(job.inputs["x"])}


def fill(job: Job) -> dict[str, Any]:
    """Writes `size` bytes, within a limit on the size of files where `limit` is given."""
    if "limit" in job.inputs:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.inputs["limit"], resource.RLIM_INFINITY))
    (job.out / "weights.safetensors").write_bytes(bytes(job.inputs["size"]))
    return {}


def pid(job: Job) -> dict[str, Any]:
    """Which process it ran in, under which limits on threads."""
    job.ready()
    return {"pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"], "torch": "torch" in sys.modules, **job.inputs}


def make(name: str, value: int, *, ms: float = 0, **needs: Task) -> Task:
    """An `add` task."""
    return task("jobs:add", {"name": name, "value": value, "ms": ms}, needs, label=name, phase="test")


def graph(ms: float) -> list[Task]:
    """The last of 25 tasks: six slots with three parts each over a teacher and a meta model, scores, an assembly."""
    teacher, meta = make("teacher", 1, ms=ms), make("meta", 2, ms=ms)
    slots = [
        [make(f"slot{s}v{v}", 10 * s + v, ms=ms, host=meta, **({"teacher": teacher} if v else {})) for v in range(3)]
        for s in range(6)
    ]
    parts = {f"p{s}": max(slot, key=lambda part: part.key) for s, slot in enumerate(slots)}
    everything = {f"s{s}v{v}": part for s, slot in enumerate(slots) for v, part in enumerate(slot)}
    scores = [make(f"score{n}", n, ms=ms, **everything) for n in range(3)]
    assembled = make("assembled", 5, ms=ms, teacher=teacher, **parts)
    return [make("compared", 7, ms=ms, assembled=assembled, **{f"score{n}": s for n, s in enumerate(scores)})]


def totals(results: dict[Task, Any]) -> dict[str, int]:
    """Totals by label; a failure shows as an assertion."""
    failed = [r for r in results.values() if isinstance(r, Failure)]
    assert not failed, failed
    return {task.label: product.result["total"] for task, product in results.items()}


def main(root: str, workers: int, ms: float) -> None:
    """Run the graph and print the total of the last task."""
    with Runner(Store(root), workers, packages=("jobs",)) as runner:
        results = runner.run(graph(ms))
        print(json.dumps({task.label: totals(results)[task.label] for task in graph(ms)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
