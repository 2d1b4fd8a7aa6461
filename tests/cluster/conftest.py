"""Database servers and a Ray cluster of several nodes, all real, all of this test run alone."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from servers import MariaDB, PostgreSQL, Server  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests need a server and a cluster: `make test-cluster` runs them, and nothing else does."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", params=[PostgreSQL, MariaDB])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="assembler-db-", dir="/tmp"))
    made: Server = request.param(folder)
    made.start()
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


class Nodes:
    """A Ray cluster on this machine; its head has no CPUs, so that work is on the other nodes."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.address: str = self.cluster.address

    def add(self, cpus: int, home: Path | None = None) -> Any:
        """A node; with `home` it has a disk of its own for products."""
        env = {"ASSEMBLER_HOME": str(home)} if home else {}
        return self.cluster.add_node(num_cpus=cpus, env_vars=env)

    def kill(self, node: Any) -> None:
        """End a node at once, with all that runs on it."""
        self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    import ray

    monkeypatch.delenv("ASSEMBLER_HOME", raising=False)
    made = Nodes()
    yield made
    ray.shutdown()
    made.cluster.shutdown()


def below(root: int) -> list[int]:
    """Process ids of all descendants of a process."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, after = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(after[1]), []).append(pid)
    found, stack = [], [root]
    while stack:
        children = parents.get(stack.pop(), [])
        found += children
        stack += children
    return found


def until(holds: Any, seconds: float, what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.1)
