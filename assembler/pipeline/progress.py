"""What a run is doing, on stderr: bars with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

from assembler.assemble.runner import Event
from assembler.assemble.task import Task
from assembler.pipeline.search.board import Board
from assembler.pipeline.weights.initial import BEGIN
from assembler.search.pareto import Direction
from assembler.search.trial import Trial
from assembler.search.watch import Watch

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_PAUSE = 1.0  # seconds between two plain lines about a task that is under way
_SCORES = ("test", "validation", "score")


@dataclass
class Phase:
    """The tasks of one phase so far. Reused ones are no work, so they count in no total.

    `past` is how many of the `expected` ones a search had evaluated before, or others did.
    """

    name: str
    begin: float
    expected: int = 0
    past: int = 0
    known: set[Task] = field(default_factory=set)
    reused: set[Task] = field(default_factory=set)
    done: set[Task] = field(default_factory=set)
    failed: set[Task] = field(default_factory=set)

    @property
    def made(self) -> int:
        """How many tasks were made here, or have failed."""
        return len(self.done | self.failed)

    @property
    def ended(self) -> int:
        """How many tasks were made or have failed, here or before."""
        return self.past + self.made

    @property
    def total(self) -> int:
        """How many tasks there are to make."""
        return max(self.ended, max(self.expected, len(self.known)) - len(self.reused))

    @property
    def rate(self) -> float:
        """Tasks a second."""
        return self.made / max(1e-9, time.monotonic() - self.begin)


@dataclass
class Running:
    """A task under way."""

    task: Task
    begin: float
    step: int = 0
    total: int = 0
    info: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Step, loss and speed in words."""
        if not self.total:
            return "starting"
        parts = [f"step {self.step}/{self.total}"]
        if isinstance(loss := self.info.get("loss"), float):
            parts.append(f"loss {loss:.4g}")
        return ", ".join([*parts, f"{self.step / max(1e-9, time.monotonic() - self.begin):.3g} steps/s"])

    def left(self) -> float:
        """Seconds that it still takes at the speed so far."""
        return (time.monotonic() - self.begin) * (self.total - self.step) / max(1, self.step)


class View(Protocol):
    """How progress is shown. Every method is told what has just changed."""

    def close(self) -> None: ...
    def reused(self, phase: Phase) -> None: ...
    def running(self, phase: Phase, now: Running) -> None: ...
    def ended(self, phase: Phase, event: Event) -> None: ...
    def tried(self, board: Board, trial: Trial, *, better: bool) -> None: ...


class Progress:
    """A context manager whose `tasks`, `phase` and `event` are given to a run; nothing is shown after it ends."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        stream = stream or sys.stderr
        on_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._view: View = _Bars(stream) if on_terminal else _Lines(stream)
        self._phases: dict[str, Phase] = {}
        self._running: dict[Task, Running] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._view.close()

    def phase(self, name: str) -> None:
        """A phase of the run begins; its tasks may still be made later, where a phase after it needs them."""
        self._phase(name)

    def expect(self, name: str, count: int) -> None:
        """`count` tasks are to be made in a phase."""
        self._phase(name).expected = count

    def search(self, name: str, goals: Mapping[str, Direction], trials: int) -> Watch:
        """A phase searches: what is to become of values, and how many trials. What it gives is to watch the search."""
        self._phase(name).expected += trials
        return _Watch(self._phase(name), Board(goals, trials, name), self._view)

    def tasks(self, tasks: Iterable[Task]) -> None:
        """These tasks are wanted."""
        for task in tasks:
            self._phase(task.phase).known.add(task)

    def event(self, event: Event) -> None:
        """Something happened to a task."""
        phase, task = self._phase(event.task.phase), event.task
        if event.kind == "reused":
            if task.run != BEGIN and task not in phase.done | phase.reused:
                phase.reused.add(task)
                self._view.reused(phase)
        elif event.kind in ("started", "progress"):
            if event.kind == "started" and not self._running:
                phase.begin = phase.begin if phase.made else time.monotonic()
            now = self._running.setdefault(task, Running(task, time.monotonic()))
            now.step, now.total, now.info = event.step, event.total, event.info
            self._view.running(phase, now)
        else:
            self._running.pop(task, None)
            (phase.failed if event.kind == "failed" else phase.done).add(task)
            self._view.ended(phase, event)

    def _phase(self, name: str) -> Phase:
        return self._phases.setdefault(name, Phase(name, time.monotonic()))


class _Watch(Watch):
    """Tells a view of the trials of a search; those of before it began, or of others, count without a word."""

    def __init__(self, phase: Phase, board: Board, view: View) -> None:
        super().__init__(lambda trial: view.tried(board, trial, better=board.enter(trial)))
        self._phase, self._board = phase, board

    def heard(self, trial: Trial) -> None:
        self._board.enter(trial, here=False)
        self._phase.past += trial.counts

    def wanted(self, trials: int) -> None:
        self._phase.expected += trials - self._board.wanted
        self._board.wanted = trials


class _Lines:
    """A line for each task that ends, one for what a phase reuses, and one a second at most while a task is running."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._told = time.monotonic()
        self._reused: dict[str, int] = {}

    def close(self) -> None:
        for name, count in self._reused.items():
            self._say(f"[{name}] {count} reused")
        self._reused = {}

    def reused(self, phase: Phase) -> None:
        self._reused[phase.name] = self._reused.get(phase.name, 0) + 1

    def running(self, phase: Phase, now: Running) -> None:
        if time.monotonic() - self._told < _PAUSE or not now.total:
            return
        self.close()
        self._say(f"[{_head(phase)}] {now.task.name}: {now.text()}, {_clock(now.left())} left")

    def ended(self, phase: Phase, event: Event) -> None:
        self.close()
        self._say(f"[{_head(phase)}] {event.task.name}: {_outcome(event)}")

    def tried(self, board: Board, trial: Trial, *, better: bool) -> None:
        if better:
            head = "best so far" if len(board.goals) == 1 else f"on the front of {len(board.front)}"
            self._say(f"[{board.name} {board.evaluated}/{board.wanted}] {head}: {board.said(trial)}")

    def _say(self, text: str) -> None:
        self._told = time.monotonic()
        self._stream.write(_clean(text) + "\n")
        self._stream.flush()


class _Bars:
    """A bar for every phase and one below it for every running task; of a search what it has come to, below them."""

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._rows: dict[str, TaskID] = {}
        self._bars: RichProgress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            TextColumn("{task.fields[text]}", markup=False),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=Console(file=stream, stderr=stream is sys.stderr),
        )
        self._live: Live = Live(self._bars, console=self._bars.console, refresh_per_second=10)
        self._live.start()

    def close(self) -> None:
        for key in [k for k in self._rows if k.startswith("task ")]:
            self._drop(key)
        self._live.stop()

    def tried(self, board: Board, trial: Trial, *, better: bool) -> None:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for head, words in board.lines():
            style = "red" if head == "failed" else ""
            table.add_row(Text(head, style="bold"), Text(_clean(words), style=style, overflow="ellipsis", no_wrap=True))
        self._live.update(Group(self._bars, table))

    def reused(self, phase: Phase) -> None:
        self._phase(phase)

    def running(self, phase: Phase, now: Running) -> None:
        self._phase(phase)
        self._row(f"task {now.task.key}", f"  {now.task.name}", now.step, now.total or None, now.text())

    def ended(self, phase: Phase, event: Event) -> None:
        self._drop(f"task {event.task.key}")
        self._phase(phase)
        if event.kind == "failed":
            self._bars.console.print(
                _clean(f"{event.task.name}: {_outcome(event)}"), style="red", markup=False, highlight=False
            )

    def _phase(self, phase: Phase) -> None:
        said = [f"{phase.ended}/{phase.total} tasks"] if phase.total else []
        said += [_speed(phase.rate)] if phase.made else []
        said += [f"{len(phase.reused)} reused"] if phase.reused else []
        said += [f"{len(phase.failed)} failed"] if phase.failed else []
        # Nothing but reused products: the bar of such a phase is full.
        done, total = (phase.ended, phase.total) if phase.total else (1, 1)
        self._row(f"phase {phase.name}", phase.name, done, total, ", ".join(said))

    def _row(self, key: str, name: str, done: int, total: int | None, text: str) -> None:
        if key not in self._rows:
            self._rows[key] = self._bars.add_task(_clean(name), total=total, text=text)
        self._bars.update(self._rows[key], completed=done, total=total, text=_clean(text))

    def _drop(self, key: str) -> None:
        if key in self._rows:
            self._bars.remove_task(self._rows.pop(key))


def _speed(rate: float) -> str:
    return f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min"


def _head(phase: Phase) -> str:
    return f"{phase.name} {phase.ended}/{phase.total}"


def _outcome(event: Event) -> str:
    if event.kind in ("failed", "pruned"):
        return f"{event.kind}: {event.reason}"
    scores = [f"{name} {event.info[name]:.4f}" for name in _SCORES if isinstance(event.info.get(name), float)]
    loss = event.info.get("loss")
    scores += [f"loss {loss:.4g}"] if isinstance(loss, float) else []
    return ", ".join([*scores, f"{event.seconds:.1f} s"])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _clean(text: str) -> str:
    """Labels come from recipes, and a terminal would obey control characters in them."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
