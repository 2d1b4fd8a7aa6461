"""Who works on a study: each process that searches says so now and then, so that others see who died.

A process of the same machine that is no more is dead at once; any other when it has said nothing for a while, by the
clock of whoever looks, who has looked all the while.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

PREFIX = "assembler:worker:"


class Member:
    """This process at work on a study; `write` puts a fact under a name where the others see it.

    It reports every `grace / 6` seconds from a thread of its own, so that long evaluations do not look like death.
    """

    def __init__(self, write: Callable[[str, dict[str, Any]], None], workers: int, grace: float) -> None:
        self.name = uuid.uuid4().hex[:12]
        self._write = write
        self._pause = grace / 6
        self._beat = 0
        self._over = threading.Event()
        self._facts = {
            "host": socket.gethostname(),
            "machine": machine(),
            "pid": os.getpid(),
            "start": started(os.getpid()),
            "workers": workers,
        }
        self.report()
        self._thread = threading.Thread(target=self._report_on, daemon=True)
        self._thread.start()

    def report(self, *, left: bool = False) -> None:
        """Say that this process is there, or that it has left."""
        self._beat += 1
        self._write(PREFIX + self.name, {**self._facts, "beat": self._beat, "left": left})

    def leave(self) -> None:
        """Say good-bye: what it has begun is free for others."""
        self._over.set()
        self._thread.join()
        self.report(left=True)

    def _report_on(self) -> None:
        while not self._over.wait(self._pause):
            with suppress(Exception):  # the database is away: the next report may come through
                self.report()


class Crew:
    """Which of those who work on a study are alive, as far as can be told from here."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._heard: dict[str, tuple[int, float]] = {}
        self._looked = 0.0

    def dead(self, facts: Mapping[str, Any]) -> set[str]:
        """The names of those who died or left, of the facts that members wrote."""
        now = time.monotonic()
        if now - self._looked > self._grace / 2:  # silence while one did not look means nothing
            self._heard.clear()
        self._looked = now
        return {
            key.removeprefix(PREFIX)
            for key, said in facts.items()
            if key.startswith(PREFIX) and self._gone(key, said, now)
        }

    def _gone(self, key: str, said: Mapping[str, Any], now: float) -> bool:
        if said["left"]:
            return True
        if said["machine"] and said["machine"] == machine() and started(int(said["pid"])) != str(said["start"]):
            return True
        beat, since = self._heard.get(key, (-1, now))
        if beat != said["beat"]:
            since = now
        self._heard[key] = (said["beat"], since)
        return now - since > self._grace


def machine() -> str:
    """What processes that see each other have in common: one boot of a machine, its process ids. Or nothing."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def started(pid: int) -> str:
    """When a process began, in its machine's own words; empty where there is no such process, or it is a zombie."""
    try:
        after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after[0] in "ZX" else after[19]
