"""Runs killed at random moments: nothing finished is redone or lost, and the results are those of a calm run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jobs
from test_runner import left, workers_on

from assembler.assemble.store import Store
from assembler.assemble.task import closure

ROOT = Path(__file__).parents[2]
KILLS = 20
MS = 30.0


def start(store: Store) -> subprocess.Popen[str]:
    command = [sys.executable, jobs.__file__, str(store.root), "2", str(MS)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)


def calm(store: Store) -> tuple[dict[str, int], float]:
    """The result of an undisturbed run and its seconds."""
    begin = time.monotonic()
    text, _ = start(store).communicate(timeout=60)
    return json.loads(text), time.monotonic() - begin


def finished(store: Store) -> dict[str, tuple[int, int, int]]:
    """Identity and time of every finished product: it changes where one is made again."""
    stats = {p.key: ((p.path / "card.json").stat(), p.path.stat()) for p in store.products()}
    return {key: (card.st_ino, card.st_mtime_ns, folder.st_ino) for key, (card, folder) in stats.items()}


def kill_worker(store: Store, dice: random.Random) -> None:
    if pids := sorted(workers_on(store)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(dice.choice(pids), signal.SIGKILL)


def until_no_worker_lives(store: Store) -> None:
    deadline = time.monotonic() + 10
    while workers_on(store):
        assert time.monotonic() < deadline, "an orphaned worker lives on"
        time.sleep(0.01)


def until_clean(store: Store) -> None:
    """Nothing is left by then; a process that ends has no command line any more before it lets go of its locks."""
    deadline = time.monotonic() + 10
    store.clean()
    while left(store):
        assert time.monotonic() < deadline, f"left: {left(store)}"
        time.sleep(0.01)
        store.clean()


def wait_for_work(store: Store, run: subprocess.Popen[str], seconds: float) -> bool:
    """Let a run go on for that time from its first worker on; whether it still runs then."""
    while run.poll() is None and not workers_on(store):
        time.sleep(0.005)
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.wait(seconds)
    return run.poll() is None


def strike(store: Store, run: subprocess.Popen[str], dice: random.Random, number: int, seconds: float) -> int:
    """Kill workers and at last the run itself, at random moments; returns the number of kills so far."""
    while number < KILLS and wait_for_work(store, run, dice.uniform(0, seconds / 3)):
        number += 1
        if number % 2:
            run.kill()
            break
        kill_worker(store, dice)
    return number


def test_twenty_kills_lose_nothing_and_change_nothing(tmp_path: Path, marks: Path) -> None:
    expected, seconds = calm(Store(tmp_path / "calm"))
    dice, kills, rounds = random.Random(20), 0, 0
    while kills < KILLS:
        rounds += 1
        store, code = Store(tmp_path / f"round{rounds}"), 1
        before: dict[str, tuple[int, int, int]] = {}
        while code:
            with start(store) as run:
                kills = strike(store, run, dice, kills, seconds)
                text, _ = run.communicate(timeout=60)
            until_no_worker_lives(store)
            code, after = run.returncode, finished(store)
            assert code in (0, -signal.SIGKILL)
            assert before.items() <= after.items(), "a finished product was lost or made again"
            before = after
        assert json.loads(text) == expected
        assert set(after) == {task.key for task in closure(jobs.graph(MS))}
        assert left(store) == []
        for product in store.products():
            product.check()


def test_an_interrupt_ends_the_workers_and_the_next_run_goes_on(tmp_path: Path, marks: Path) -> None:
    store = Store(tmp_path / "home")
    run = start(store)
    assert wait_for_work(store, run, 0.25)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=10)
    assert run.returncode != 0 and workers_on(store) == [] and left(store) == []
    before = finished(store)
    calm(store)
    assert before.items() <= finished(store).items() and len(finished(store)) == 25


STUCK = """
import sys
from assembler.assemble.runner import Runner
from assembler.assemble.store import Store
from assembler.assemble.task import task
with Runner(Store(sys.argv[1]), on_event=lambda e: print(e.kind, flush=True), packages=("jobs",)) as runner:
    runner.run([task("jobs:stuck")])
"""


def test_a_worker_stuck_in_native_code_dies_with_its_parent(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    command = [sys.executable, "-c", STUCK, str(store.root)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        while run.stdout.readline() != "progress\n":
            assert run.poll() is None
        run.kill()
    until_no_worker_lives(store)
    until_clean(store)
