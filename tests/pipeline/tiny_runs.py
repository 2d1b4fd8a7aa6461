"""Runs of `tiny.yaml` and of its variants, and what is compared of them."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import assembler as asm
from assembler.assemble.runner import Event
from assembler.assemble.store import Store
from assembler.recipe.document import parse

TINY = Path(__file__).parent / "tiny.yaml"


@dataclass
class Done:
    """A finished run: its folder, its summary, its store, and what happened to which task."""

    folder: Path
    summary: dict[str, Any]
    home: Path
    events: list[Event] = field(repr=False)

    @property
    def made(self) -> Counter[str]:
        """How many tasks of each phase were made, none of them read; candidates that were only scored do not count."""
        return Counter(e.task.phase for e in self.events if e.kind == "done" and not e.task.run.endswith(":score"))

    @property
    def numbers(self) -> dict[str, Any]:
        """The summary without clocks."""
        return {k: v for k, v in self.summary.items() if k not in ("time", "wall_seconds", "search")} | {
            "search": {k: v for k, v in self.summary["search"].items() if k != "seconds"}
            if self.summary["search"]
            else None
        }

    def rows(self, file: str) -> list[dict[str, Any]]:
        """The rows of a table of the run folder."""
        return [json.loads(line) for line in (self.folder / file).read_text().splitlines()]


def trials(folder: Path) -> list[dict[str, Any]]:
    """What became of the trials of a run's search, but for their numbers and for those that were begun again."""
    found = [json.loads(line) for line in (folder / "candidates.jsonl").read_text().splitlines()]
    kept = [one for one in found if one["reason"] not in ("it was interrupted", "its worker died")]
    return [{**one, "number": 0, "parent": None, "reason": re.sub(r"\d+", "#", one["reason"])} for one in kept]


def run_tiny(*overrides: str, home: Path, workers: int = 1, text: str = "", source: Any = None) -> Done:
    """Run `tiny.yaml` (or `text`, or `source`) with overrides; the environment names the same `home`."""
    events: list[Event] = []
    found = source or (parse(text, overrides=overrides) if text else TINY)
    more = () if text else overrides
    folder, summary = asm.run(found, *more, workers=workers, device="cpu", on_event=events.append)
    return Done(folder, summary, home, [e for e in events if e.kind != "progress"])


def changed(*pairs: tuple[str, str]) -> str:
    """The text of `tiny.yaml` with replacements, each of which must have something to replace."""
    text = TINY.read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def copy_store(done: Done, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished run's store, which the environment points to."""
    shutil.copytree(done.home, place / "copy")
    monkeypatch.setenv("ASSEMBLER_HOME", str(place / "copy"))
    return place / "copy"


def prints(home: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of the card of every finished product, by key."""
    cards = {p.key: (p.path / "card.json").stat() for p in Store(home).products()}
    return {key: (stat.st_ino, stat.st_mtime_ns) for key, stat in cards.items()}
