"""A run that is killed at random moments, workers and parent alike, ends with the numbers of one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tiny_runs import TINY, Done, prints, trials

KILLS = 20
RUN = """
import json, sys
import assembler as asm
folder, summary = asm.run(sys.argv[1], "phases.export.formats=[safetensors]", workers=2, device="cpu")
print(json.dumps([str(folder), summary]))
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found through /proc")


def start(place: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "ASSEMBLER_HOME": str(place / "home"), "ASSEMBLER_RUNS": str(place / "runs")}
    return subprocess.Popen([sys.executable, "-c", RUN, str(TINY)], env=env, stdout=subprocess.PIPE, text=True)


def workers(run: subprocess.Popen[str]) -> list[int]:
    with suppress(FileNotFoundError):
        found = Path(f"/proc/{run.pid}/task").glob("*/children")
        return sorted({int(pid) for file in found for pid in file.read_text().split()})
    return []


def strike(run: subprocess.Popen[str], dice: random.Random, number: int) -> int:
    """Kill at most two workers, then the run itself; returns the number of kills so far."""
    while run.poll() is None and number < KILLS:
        while run.poll() is None and not workers(run):
            time.sleep(0.01)
        with suppress(subprocess.TimeoutExpired):
            run.wait(dice.uniform(0, 1.8))
        alive = workers(run)
        if run.poll() is not None or not alive:
            continue
        number += 1
        if number % 3 == 0:
            run.kill()
            break
        with suppress(ProcessLookupError):
            os.kill(dice.choice(alive), signal.SIGKILL)
    return number


def test_twenty_kills_change_no_number_and_redo_nothing(done: Done, tmp_path: Path) -> None:
    dice, kills, rounds = random.Random(7), 0, 0
    text = ""
    while kills < KILLS:
        rounds += 1
        place, code = tmp_path / f"round{rounds}", 1
        before: dict[str, tuple[int, int]] = {}
        while code:
            with start(place) as run:
                kills = strike(run, dice, kills)
                text, _ = run.communicate(timeout=60)
            code, after = run.returncode, prints(place / "home")
            assert code in (0, -signal.SIGKILL)
            assert before.items() <= after.items(), "a finished product was lost or made again"
            before = after
        folder, summary = json.loads(text)
        found = Done(Path(folder), summary, place / "home", [])
        assert found.numbers == done.numbers
        assert trials(found.folder) == trials(done.folder) and len(list(found.folder.parent.glob("20*"))) == 1
        model = (found.folder / "model.safetensors").read_bytes()
        assert model == (done.folder / "model.safetensors").read_bytes()
        assert not list((place / "home" / "tmp").glob("*")), "half-made products are left"
