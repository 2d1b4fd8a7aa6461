"""Trials and parts on a Ray cluster of several nodes: workers, nodes and drivers die, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cluster_jobs import RECIPE, make, size
from conftest import Nodes, below, until

import assembler as asm
from assembler.assemble.engines import make_pool
from assembler.assemble.product import Product
from assembler.assemble.runner import Runner
from assembler.assemble.store import Store
from assembler.errors import InputError
from assembler.recipe.document import parse
from assembler.search import load_study
from assembler.search.status import status

TINY = Path(__file__).parents[1] / "pipeline" / "tiny.yaml"
CLOCKS = ("time", "wall_seconds", "search")
SEARCH = """
import sys
import assembler as asm
from assembler.recipe.document import parse
from cluster_jobs import RECIPE, size
if __name__ == "__main__":
    found = asm.search(parse(RECIPE), size, sampler="random", trials=60, workers=4, engine="ray", address=sys.argv[1],
                       storage=sys.argv[2])
    print(found.evaluated)
"""


def test_parts_are_made_on_nodes_without_a_common_disk_though_one_of_them_dies(nodes: Nodes, tmp_path: Path) -> None:
    doomed = nodes.add(2, tmp_path / "first")
    nodes.add(2, tmp_path / "second")
    store = Store(tmp_path / "driver")
    host = make(1, 0.1)
    parts = [make(10 * n, 0.3, host=host) for n in range(1, 13)]
    last = make(1000, 0.0, **{f"p{n}": part for n, part in enumerate(parts)})
    killed: list[Any] = []

    def listen(event: Any) -> None:
        if event.kind == "done" and not killed and event.task in parts[3:]:
            killed.append(event.task)
            nodes.kill(doomed)

    pool = make_pool("ray", store, 4, address=nodes.address)
    with Runner(store, 4, listen, packages=("cluster_jobs",), pool=pool) as runner:
        results = runner.run([last])
    assert killed and all(isinstance(r, Product) for r in results.values()), results
    assert results[last].result["total"] == 1000 + sum(10 * n + 1 for n in range(1, 13))  # type: ignore[union-attr]
    homes = {r.result["home"] for r in results.values() if isinstance(r, Product)}
    assert homes <= {str(tmp_path / "first"), str(tmp_path / "second")} and str(tmp_path / "second") in homes
    for product in store.products():
        product.check()
    assert len(list(store.products())) == 14


def test_a_run_is_that_of_one_machine_though_a_node_dies(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed = nodes.add(2, tmp_path / "first")
    nodes.add(2, tmp_path / "second")
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "alone"))
    _, calm = asm.run(TINY, "seeds=[0]", workers=1, device="cpu")
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "driver"))
    made: Counter[str] = Counter()
    killed: list[str] = []

    def listen(event: Any) -> None:
        made[event.task.key] += event.kind == "done" and event.task.kept
        if event.kind == "done" and event.task.phase == "incubate" and not killed and sum(made.values()) > 2:
            killed.append(event.task.key)
            nodes.kill(doomed)

    how: dict[str, Any] = {"workers": 4, "engine": "ray", "address": nodes.address, "device": "cpu"}
    _, found = asm.run(TINY, "seeds=[0]", **how, on_event=listen)
    assert killed and max(made.values()) == 1
    assert {k: v for k, v in found.items() if k not in CLOCKS} == {k: v for k, v in calm.items() if k not in CLOCKS}
    alone, driver = Store(tmp_path / "alone"), Store(tmp_path / "driver")
    assert [p.key for p in alone.products()] == [p.key for p in driver.products()]
    for product in alone.products():
        for name in (n for n in product.files if n.endswith(".safetensors")):
            assert driver.find(product.key).file(name).read_bytes() == product.file(name).read_bytes()


def test_trials_survive_a_worker_and_a_node(nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doomed = nodes.add(2)
    nodes.add(2)
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    url, seen = f"journal:///{tmp_path}/s.log", []

    def listen(trial: Any) -> None:
        seen.append(trial.number)
        if len(seen) == 60:
            ours = [p for p in below(os.getpid()) if b"assembler.assemble.worker" in _command(p)]
            os.kill(ours[0], signal.SIGKILL)
        if len(seen) == 120:
            nodes.kill(doomed)

    how: dict[str, Any] = {"workers": 4, "engine": "ray", "address": nodes.address, "storage": url}
    found = asm.search(parse(RECIPE), size, sampler="random", trials=300, seed=1, on_trial=listen, **how)
    alone = asm.search(parse(RECIPE), lambda m: -float(sum(p.numel() for p in m.parameters())),
                       sampler="random", trials=300, seed=1)  # fmt: skip
    assert found.evaluated == 300 and Counter(t.state for t in found.trials) == {"complete": 300}
    assert {(str(t.choice), t.value) for t in found.trials} == {(str(t.choice), t.value) for t in alone.trials}


def test_a_killed_driver_loses_nothing(nodes: Nodes, tmp_path: Path) -> None:
    nodes.add(4)
    url, script = f"journal:///{tmp_path}/s.log", tmp_path / "searches.py"
    script.write_text(SEARCH)
    env = {**os.environ, "ASSEMBLER_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, str(script), nodes.address, url]
    first = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    until(lambda: _ended(url) >= 10, 120, "no trial ended")
    first.kill()
    first.wait()
    time.sleep(0.5)
    before = Counter(t.state.name for t in load_study(url).trials)
    assert before["COMPLETE"] < 60
    again = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=200)
    assert again.stdout.strip() == "60"
    found = status(load_study(url))
    assert found.evaluated == found.states["complete"] == 60
    assert set(found.states) <= {"complete", "duplicate", "failed"} and set(found.failures) <= {"its worker died"}


def test_what_is_wrong_with_an_engine_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(InputError, match=r"there is no engine 'rey'\n    hint: did you mean 'ray'\?"):
        make_pool("rey", store, 1)
    with pytest.raises(InputError, match="processes have no address\n    hint: give --engine ray"):
        make_pool("processes", store, 1, address="auto")
    with pytest.raises(InputError, match=r"cannot reach a Ray cluster at 127\.0\.0\.1:1: "):
        make_pool("ray", store, 1, address="127.0.0.1:1")


def _ended(url: str) -> int:
    try:
        return sum(t.state.is_finished() for t in load_study(url).trials)
    except InputError:
        return 0


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
