"""Running graphs of tasks in real worker processes: order, reuse, isolation of failures, two runs on one store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jobs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs import graph, make, totals

from assembler.assemble.plan import Failure
from assembler.assemble.product import Product
from assembler.assemble.runner import Event, Runner
from assembler.assemble.store import Store
from assembler.assemble.task import Task, closure, task
from assembler.errors import TaskError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def runner(store: Store, events: list[Event], marks: Path) -> Iterator[Runner]:
    with Runner(store, 2, events.append, packages=("jobs",)) as runner:
        yield runner
    assert left(store) == [] and workers_on(store) == []


def left(store: Store) -> list[Path]:
    return [f for folder in (store.tmp, store.locks) if folder.is_dir() for f in folder.iterdir()]


def workers_on(store: Store) -> list[int]:
    """Process ids of the living workers of a store."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(store.root).encode() in command and any(b"assembler.assemble.worker" in word for word in command):
            found.append(int(path.parent.name))
    return found


def ran(marks: Path) -> dict[str, int]:
    return {f.name: len(f.read_text().splitlines()) for f in marks.iterdir()}


def failure(results: dict[Task, Product | Failure], wanted: Task) -> Failure:
    found = results[wanted]
    assert isinstance(found, Failure)
    return found


def product(results: dict[Task, Product | Failure], wanted: Task) -> Product:
    found = results[wanted]
    assert isinstance(found, Product), found
    return found


def test_a_graph_is_made_once_and_then_read(runner: Runner, events: list[Event], marks: Path) -> None:
    results = runner.run(graph(1))
    assert set(results) == set(closure(graph(1))) and set(ran(marks).values()) == {1} and len(ran(marks)) == 25
    assert [e.kind for e in events].count("done") == 25
    done = {e.task for e in events if e.kind == "done"}
    events.clear()
    again = runner.run(closure(graph(1)))
    assert {e.kind for e in events} == {"reused"} and {e.task for e in events} == done
    assert totals(again) == totals(results) and set(ran(marks).values()) == {1}


def test_the_needs_of_a_finished_task_are_not_looked_at(runner: Runner, store: Store, marks: Path) -> None:
    (last,) = graph(0)
    runner.run([last])
    store.remove(last.needs[0][1].key)
    assert set(runner.run([last])) == {last} and set(ran(marks).values()) == {1}


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_results_do_not_depend_on_workers_or_order(runner: Runner, tmp_path: Path, random: Any) -> None:
    salt = random.getrandbits(64)
    tasks: list[Task] = []
    for value in range(10):
        needs = random.sample(tasks, min(len(tasks), random.randint(0, 3)))
        named = {f"x{i}": need for i, need in enumerate(needs)}
        tasks.append(make(f"n{value}", value + salt, **named))
    expected: dict[Task, int] = {}
    for one in closure(tasks):
        expected[one] = one.parameters["value"] + sum(expected[need] for _, need in one.needs)
    results = runner.run(random.sample(tasks, len(tasks)))
    assert {t: product(results, t).result["total"] for t in tasks} == expected


def test_equal_tasks_run_once_in_one_call(runner: Runner, marks: Path) -> None:
    one = task("jobs:add", {"name": "same", "value": 1}, label="one")
    two = task("jobs:add", {"value": 1, "name": "same"}, label="two")
    results = runner.run([one, two, make("user", 1, a=one, b=two)])
    assert results[one] is results[two] and ran(marks) == {"same": 1, "user": 1}


def test_events_tell_the_life_of_a_task(runner: Runner, events: list[Event]) -> None:
    host, part = make("host", 1), make("part", 2, ms=300)
    user = make("user", 3, host=host, part=part)
    runner.run([user])
    kinds = [e.kind for e in events if e.task == part]
    assert kinds[0] == "started" and kinds[-1] == "done" and set(kinds[1:-1]) == {"progress"} and len(kinds) > 3
    last = [e for e in events if e.kind == "progress" and e.task == part][-1]
    assert (last.step, last.total, last.info) == (4, 4, {"loss": 0.25})
    done = events[-1]
    assert done.task == user and done.info == {"total": 6, "names": ["host", "part"]}
    assert 0.3 <= next(e.seconds for e in events if e.kind == "done" and e.task == part) < 5
    order = [e.task.label for e in events if e.kind == "done"]
    assert order == ["host", "part", "user"]


def test_independent_tasks_run_at_the_same_time(runner: Runner, events: list[Event]) -> None:
    runner.run([make("one", 1, ms=200), make("two", 2, ms=200)])
    kinds = [e.kind for e in events if e.kind != "progress"]
    assert kinds == ["started", "started", "done", "done"]


def test_the_longest_chain_starts_first(store: Store, events: list[Event], marks: Path) -> None:
    short, head = make("short", 1), make("head", 2)
    chain = make("tail", 4, middle=make("middle", 3, head=head))
    with Runner(store, 1, events.append, packages=("jobs",)) as runner:
        runner.run([short, chain])
    assert [e.task.label for e in events if e.kind == "started"] == ["head", "middle", "short", "tail"]


def test_a_product_keeps_its_log_and_provenance(runner: Runner) -> None:
    host = make("host", 1)
    part = make("part", 2, host=host)
    made = product(runner.run([part]), part)
    assert made.files == ("metrics.jsonl", "weights.safetensors")
    points = [json.loads(line) for line in made.file("metrics.jsonl").read_text().splitlines()]
    assert points[1] == {"step": 2, "loss": 0.5}
    assert made.card["needs"] == {"host": host.key} and made.card["run"] == "jobs:add"
    assert made.card["inputs"] == {"name": "part", "value": 2, "ms": 0} and made.card["label"] == "part"
    made.check()


@pytest.mark.parametrize(
    ("function", "kind", "reason"),
    [
        ("diverge", "training", "the loss is nan at step 3"),
        ("misread", "input", "no file digits.npz"),
        ("crash", "error", "IndexError: list index out of range (jobs.py:"),
        ("leave", "error", "SystemExit: 3 (jobs.py:"),
        ("hungry", "memory", "MemoryError: cannot allocate 9 TB (jobs.py:"),
        ("unplain", "error", "result.scores.1 is nan: numbers must be finite"),
    ],
)
def test_a_failure_takes_only_its_users_along(
    runner: Runner, events: list[Event], function: str, kind: str, reason: str
) -> None:
    bad, good = task(f"jobs:{function}", label="bad"), make("good", 1)
    user = make("user", 2, bad=bad, good=good)
    last = make("last", 3, user=user)
    results = runner.run([last, make("other", 4, good=good)])
    found = failure(results, bad)
    assert found.kind == kind and found.reason.startswith(reason)
    assert failure(results, user).kind == failure(results, last).kind == "needs"
    assert failure(results, last).reason == f"needs 'bad', which failed: {found.reason}"
    assert product(results, make("other", 4, good=good)).result["total"] == 5
    assert sorted(e.task.label for e in events if e.kind == "failed") == ["bad", "last", "user"]


def test_a_failure_is_tried_again_by_the_next_run(runner: Runner, marks: Path) -> None:
    bad = task("jobs:die", {"name": "bad", "times": 3}, label="bad")
    found = failure(runner.run([bad]), bad)
    assert found.kind == "died"
    assert found.reason == "its worker died 3 times; the last time it was ended by SIGKILL, often a lack of memory"
    assert product(runner.run([bad]), bad).result == {"alive": True}
    assert ran(marks) == {"bad": 4}


def test_a_dead_worker_is_replaced_and_its_task_done_again(runner: Runner, marks: Path) -> None:
    shaky = task("jobs:die", {"name": "shaky", "times": 2})
    results = runner.run([shaky, make("calm", 1, ms=50), make("user", 2)])
    assert all(isinstance(r, Product) for r in results.values())
    assert ran(marks) == {"shaky": 3, "calm": 1, "user": 1}


def test_prints_and_reads_do_not_disturb_the_protocol(runner: Runner) -> None:
    noisy = task("jobs:noisy")
    assert product(runner.run([noisy, make("other", 1)]), noisy).result == {"read": ""}


def test_workers_stay_warm_on_one_thread_and_without_torch(runner: Runner) -> None:
    first = [task("jobs:pid", {"n": n}) for n in range(4)]
    second = [task("jobs:pid", {"n": n}) for n in range(4, 8)]
    made = {**runner.run(first), **runner.run(second)}
    pids = {product(made, t).result["pid"] for t in made}
    assert len(pids) <= 2 and os.getpid() not in pids
    assert {(product(made, t).result["threads"], product(made, t).result["torch"]) for t in made} == {("1", False)}


def test_a_job_that_forgets_its_seed_does_not_depend_on_its_worker(tmp_path: Path, marks: Path) -> None:
    wanted, drawn = task("jobs:draw", {"n": 1}), []
    for number, before in enumerate([[], [task("jobs:draw", {"n": n}) for n in range(5, 9)]]):
        with Runner(Store(tmp_path / str(number)), 1, packages=("jobs",)) as runner:
            runner.run(before)
            drawn.append(product(runner.run([wanted]), wanted).result)
    assert drawn[0] == drawn[1]


def test_tasks_are_taken_in_while_others_are_made(runner: Runner, marks: Path) -> None:
    slow, host = make("slow", 1, ms=600), make("host", 2)
    runner.submit([slow, host])
    assert runner.wait(0.0) == {} or set(runner.wait(0.0)) <= {host}
    found: dict[Task, Product | Failure] = {}
    while host not in found:
        found |= runner.wait()
    user = make("user", 3, host=host)
    runner.submit([user])
    while user not in found:
        found |= runner.wait()
    assert slow not in found, "what is short does not wait for what is long"
    while ended := runner.wait():
        found |= ended
    assert product(found, slow).result["total"] == 1 and product(found, user).result["total"] == 5
    assert ran(marks) == {"slow": 1, "host": 1, "user": 1}
    assert runner.wait() == {}


def test_a_task_that_takes_too_long_is_ended(store: Store, events: list[Event], marks: Path) -> None:
    stuck, user, calm = task("jobs:stuck", label="stuck"), make("calm", 1), make("later", 2)
    begin = time.monotonic()
    with Runner(store, 1, events.append, packages=("jobs",), limit=0.5) as runner:
        results = runner.run([stuck, user, calm])
    assert failure(results, stuck).kind == "time" and time.monotonic() - begin < 20
    assert failure(results, stuck).reason == "it took longer than 0.5 s and was ended"
    assert product(results, user).result["total"] == 1 and product(results, calm).result["total"] == 2
    assert left(store) == [] and workers_on(store) == []


def test_what_is_not_kept_is_done_again_and_leaves_nothing(runner: Runner, store: Store) -> None:
    loose = task("jobs:pid", {"n": 1}, kept=False)
    for _ in range(2):
        assert product(runner.run([loose]), loose).result["n"] == 1
    assert list(store.products()) == []


def test_only_the_allowed_packages_run(store: Store) -> None:
    inner = make("inner", 1)
    with Runner(store) as runner, pytest.raises(TaskError) as caught:
        runner.run([task("assembler.assemble.task:task", {}, {"inner": inner})])
    assert str(caught.value) == "error: task 'inner' runs jobs:add, which is not part of assembler"


def test_no_workers_are_refused(store: Store) -> None:
    with pytest.raises(TaskError, match="a run needs at least one worker, not 0"):
        Runner(store, 0)


def test_a_need_removed_in_between_is_a_failure_with_its_name(store: Store, marks: Path) -> None:
    host = make("host", 1)
    part = make("part", 2, host=host)

    def remove(event: Event) -> None:
        if event.kind == "reused":
            store.remove(event.task.key)

    with Runner(store, 1, remove, packages=("jobs",)) as runner:
        runner.run([host])
        found = failure(runner.run([part]), part)
    assert found.kind == "store"
    assert found.reason == f"the needed product 'host' ({host.key[:8]}) has been removed from {store.root}"


def test_an_error_in_the_listener_ends_the_workers_and_leaves_the_store_whole(store: Store, marks: Path) -> None:
    class StopError(Exception):
        pass

    seen: list[Task] = []
    stopped: list[float] = []

    def listen(event: Event) -> None:
        if event.kind == "progress" and event.task.run == "jobs:stuck":
            seen.append(event.task)
            if len(seen) == 2:
                stopped.append(time.monotonic())
                raise StopError

    with Runner(store, 2, listen, packages=("jobs",)) as runner:
        with pytest.raises(StopError):
            runner.run([task("jobs:stuck", {"n": 1}), task("jobs:stuck", {"n": 2})])
        assert time.monotonic() - stopped[0] < 1.5  # killed, not asked to leave
        assert workers_on(store) == [] and left(store) == [] and list(store.products()) == []
        after = make("after", 1)
        assert product(runner.run([after]), after).result["total"] == 1


PLUGGED = """
import sys
from assembler.assemble.runner import Runner
from assembler.assemble.store import Store
from assembler.assemble.task import task
from assembler.registry import add_plugin
add_plugin(sys.argv[2])
with Runner(Store(sys.argv[1]), packages=("jobs",)) as runner:
    (made,) = runner.run([task("jobs:plugged", {"op": "double_it", "x": 21})]).values()
    print(made.result)
"""


def test_workers_know_the_plugins(store: Store, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text("from assembler.registry import op\n\n\n@op\ndef double_it(x):\n    return 2 * x\n")
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    command = [sys.executable, "-c", PLUGGED, str(store.root), str(plugin)]
    assert subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout == "{'y': 42}\n"


def test_a_file_too_large_fails_its_task_only(runner: Runner, store: Store) -> None:
    big = task("jobs:fill", {"size": 1 << 20, "limit": 1 << 16}, label="big")
    results = runner.run([big, make("small", 1)])
    assert failure(results, big).kind == "store"
    assert failure(results, big).reason.startswith(f"cannot write {store.tmp}: File too large (")
    assert product(results, make("small", 1)).result["total"] == 1


def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(tmp_path: Path, marks: Path) -> None:
    disk = tmp_path / "small"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "test", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        store, big = Store(disk), task("jobs:fill", {"size": 1 << 20}, label="big")
        with Runner(store, 1, packages=("jobs",)) as runner:
            results = runner.run([big, make("user", 1, big=big), *(make(f"s{n}", n) for n in range(4))])
            assert [t.label for t, r in results.items() if isinstance(r, Failure)] == ["big", "user"]
            assert "No space left on device" in failure(results, big).reason
            assert left(store) == []
            subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
            assert product(runner.run([big]), big).size == 1 << 20
        assert left(store) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_two_runs_on_one_store_share_the_work(store: Store, marks: Path) -> None:
    command = [sys.executable, jobs.__file__, str(store.root), "2", "20"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    runs = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    texts = {run.communicate(timeout=60)[0] for run in runs}
    assert len(texts) == 1 and [run.returncode for run in runs] == [0, 0]
    assert len(ran(marks)) == 25 and set(ran(marks).values()) == {1}
    assert len({f for name in marks.iterdir() for f in name.read_text().split()}) > 2  # both had a part in it
    assert len(list(store.products())) == 25 and left(store) == []
    for made in store.products():
        made.check()
