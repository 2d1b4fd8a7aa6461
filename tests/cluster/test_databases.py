"""Many processes on one study in a real database: they die at random, the database goes away, no trial is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from cluster_jobs import SPACE, worth
from conftest import until
from servers import Server

from assembler.errors import StoreError
from assembler.search import SearchSpec, load_study, make, open_study, run
from assembler.search.status import status

WORK = """
import sys
from cluster_jobs import SPACE, worth
from assembler.search import SearchSpec, make, open_study, run
url, name, seed, trials = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with open_study(url, name, workers=8, grace=5.0).join(SPACE, wanted=trials) as log:
    run(SPACE, worth, make("random", SearchSpec(SPACE, seed)), trials, log=log)
"""


def begin(server: Server, name: str, seed: int, trials: int) -> subprocess.Popen[bytes]:
    """A process that searches."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    words = [sys.executable, "-c", WORK, server.url, name, str(seed), str(trials)]
    return subprocess.Popen(words, env=env, stderr=subprocess.PIPE)


def finish(processes: list[subprocess.Popen[bytes]]) -> list[str]:
    """What each of them said on stderr, once they have ended."""
    return [process.communicate(timeout=300)[1].decode() for process in processes]


def test_a_thousand_short_trials_over_eight_processes_of_which_some_are_killed_lose_none(server: Server) -> None:
    rng = random.Random(0)
    processes = [begin(server, "thousand", seed, 1000) for seed in range(8)]
    open_study(server.url, "thousand")
    for killed in range(4):
        until(lambda k=killed: _ended(server, "thousand") >= 100 * (k + 1), 200, "the search does not go on")
        victim = processes.pop(rng.randrange(len(processes)))
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        processes.append(begin(server, "thousand", 100 + killed, 1000))
    assert finish(processes) == [""] * 8
    found = status(load_study(server.url, "thousand"))
    assert found.evaluated == found.states["complete"] == 1000, found.states
    assert set(found.states) <= {"complete", "failed", "duplicate", "infeasible"} and found.workers == ()
    assert set(found.failures) <= {"its worker died"} and sum(found.failures.values()) <= 4
    over = {t.reason for t in found.trials if t.state == "infeasible"}
    assert over <= {"the study has its 1,000 trials"}
    kept = load_study(server.url, "thousand").history(SPACE)
    assert all(t.value == worth(t.choice) for t in kept if t.values) and not any(t.state == "running" for t in kept)
    calls = Counter(t.key for t in kept if t.state == "complete")
    assert set(calls.values()) == {1}, "nothing was evaluated twice"


def test_a_database_that_comes_back_is_waited_for(server: Server) -> None:
    processes = [begin(server, "away", seed, 300) for seed in range(3)]
    open_study(server.url, "away")
    until(lambda: _ended(server, "away") >= 40, 120, "the search does not begin")
    server.stop()
    time.sleep(3)
    assert [process.poll() for process in processes] == [None, None, None]
    server.start()
    told = {line for text in finish(processes) for line in text.splitlines()}
    assert told == {f"{server.url} does not answer; it is waited for, 300 s at most"}
    found = status(load_study(server.url, "away"))
    assert found.evaluated == found.states["complete"] == 300 and "running" not in found.states, found.states


def test_a_database_that_stays_away_is_told_and_the_search_goes_on_later(server: Server) -> None:
    def evaluate(choice: object) -> float:
        calls.append(choice)
        if len(calls) == 5:
            server.stop()
        return float(len(calls))

    calls: list[object] = []
    sampler = make("random", SearchSpec(SPACE))
    with pytest.raises(StoreError) as error, open_study(server.url, "gone", patience=1.0).join(SPACE) as log:
        run(SPACE, evaluate, sampler, 10, log=log)
    server.start()
    assert f"error: {server.url} has not answered for 1 s: (p" in str(error.value)
    assert "hint: what is recorded is kept, and the same command goes on from there" in str(error.value)
    with open_study(server.url, "gone", grace=2.0).join(SPACE) as log:
        again = run(SPACE, evaluate, make("random", SearchSpec(SPACE)), 10, log=log)
    assert again.evaluated == 10 and Counter(t.state for t in again.trials)["complete"] == 10
    assert "running" not in status(load_study(server.url, "gone")).states


def _ended(server: Server, name: str) -> int:
    return sum(t.state.is_finished() for t in load_study(server.url, name).trials)
