"""What a run folder holds, read leniently: a missing file, a torn line or a strange value costs that item only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assembler.errors import AssemblerError, InputError
from assembler.graph.core import Graph


@dataclass(frozen=True, slots=True)
class Candidate:
    """One assembly or trial that the search looked at. Costs are counts; `score` is validation, or of a trial that was
    trained the first of its `values` by objective; `estimate` is lower-is-better.
    """

    choice: Mapping[str, str]
    seed: int = 0
    params: float | None = None
    flops: float | None = None
    estimate: float | None = None
    score: float | None = None
    feasible: bool = True
    reason: str = ""
    number: int = 0
    values: tuple[float, ...] = ()

    @property
    def first(self) -> float | None:
        """The first objective."""
        return self.values[0] if self.values else self.score


@dataclass(frozen=True, slots=True)
class Part:
    """One trained variant of a slot under one seed."""

    slot: str
    variant: str
    seed: int = 0
    params: float | None = None
    flops: float | None = None
    loss: float | None = None
    score: float | None = None
    train_flops: float | None = None
    seconds: float | None = None
    failed: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One logged point of one training."""

    phase: str
    label: str
    task: str
    epoch: float
    loss: float | None = None
    validation: float | None = None


@dataclass(frozen=True)
class Run:
    """Everything a report is drawn from. `notes` says in words what could not be read."""

    folder: Path
    summary: Mapping[str, Any] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    parts: tuple[Part, ...] = ()
    graph: Graph | None = None
    lock: str = ""
    notes: tuple[str, ...] = ()

    def section(self, *names: str) -> Mapping[str, Any]:
        """The mapping in the summary under these names, empty where there is none."""
        found: Any = self.summary
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    @property
    def studies(self) -> list[Run]:
        """The searches of the run, each as the folder of a search would hold it."""
        return [
            replace(
                self,
                summary={**self.summary, "study": study},
                candidates=tuple(c for c in self.candidates if c.seed == whole(study.get("seed"))),
            )
            for study in items(self.summary.get("studies"))
        ]

    @property
    def metric(self) -> str:
        """The name of the metric that scores are in."""
        return text(self.section("result").get("metric")) or "accuracy"

    @property
    def choice(self) -> dict[str, str]:
        """The winner's variant for each slot."""
        return {str(slot): text(label) for slot, label in self.section("result", "choice").items()}

    @property
    def phases(self) -> list[str]:
        """The names of the phases, in the order in which the summary gives them."""
        timed, counted = self.section("time"), self.section("cost", "train_flops")
        return [str(name) for name in dict.fromkeys([*timed, *counted])]

    @property
    def made(self) -> tuple[str, str]:
        """What the model of the run is called in tables, and where it comes from."""
        if search := self.section("search"):
            if search.get("assembled") is False:
                return text(self.section("result").get("model")), "not the winner of the search, which is not assembled"
            return "assembled and tuned", "the winner of the search"
        return "the model", "trained as a whole"

    @property
    def teacher(self) -> Mapping[str, Any]:
        """What is known of the teacher that the model is compared with.

        Nothing where it is the model itself, or one of another purpose, whose figures say nothing about the model's.
        """
        teacher = self.section("models", "teacher")
        return {} if self.section("result").get("model") == "teacher" or teacher.get("own") else teacher

    @property
    def path_flops(self) -> float | None:
        """Training FLOPs of all that led to the model: every phase but the comparison. None where none is counted."""
        counted = {name: number(v) for name, v in self.section("cost", "train_flops").items() if name != "compare"}
        found = [v for v in counted.values() if v is not None]
        return sum(found) if found else None


def number(value: Any) -> float | None:
    """A number of drawable size (at most 1e30 either way), or None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if abs(found) <= 1e30 else None


def numbers(value: Any) -> list[float]:
    """The finite numbers in a list; nothing for everything else."""
    found = [number(v) for v in value] if isinstance(value, list) else []
    return [v for v in found if v is not None]


def text(value: Any) -> str:
    """A string for people: nothing for None, containers as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)


def whole(value: Any) -> int:
    """An integer, 0 where there is none."""
    found = number(value)
    return 0 if found is None else int(found)


def items(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list; nothing for everything else."""
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


def read_run(folder: Path) -> Run:
    """Read a run folder. Raises InputError where the folder itself is missing."""
    if not folder.is_dir():
        raise InputError(f"there is no run folder '{folder}'", hint="`assembler run RECIPE` writes one under ./runs")
    notes: list[str] = []
    summary = _summary(folder / "summary.json", notes)
    if isinstance(summary.get("study"), Mapping):  # a search by trials, which leaves less
        rows = tuple(_candidate(row) for row in _rows(folder / "candidates.jsonl", notes))
        return Run(folder, summary, candidates=rows, lock=_text(folder / "best.yaml", notes), notes=tuple(notes))
    return Run(
        folder=folder,
        summary=summary,
        points=tuple(p for row in _rows(folder / "metrics.jsonl", notes) if (p := _point(row))),
        candidates=tuple(_candidate(row) for row in _rows(folder / "candidates.jsonl", notes)),
        parts=tuple(_part(row) for row in _rows(folder / "parts.jsonl", notes)),
        graph=_graph(folder / "graph.txt", notes),
        lock=_text(folder / "recipe.lock.yaml", notes),
        notes=tuple(notes),
    )


def _text(path: Path, notes: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        notes.append(f"{path.name} is missing")
        return ""


def _summary(path: Path, notes: list[str]) -> Mapping[str, Any]:
    if not (source := _text(path, notes)):
        return {}
    try:
        found = json.loads(source)
    except (ValueError, RecursionError) as error:
        notes.append(f"{path.name} is not JSON ({error})")
        return {}
    return found if isinstance(found, Mapping) else {}


def _rows(path: Path, notes: list[str]) -> Iterator[Mapping[str, Any]]:
    torn = 0
    for line in _text(path, notes).splitlines():
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, Mapping):
            yield row
        else:
            torn += 1
    if torn:
        notes.append(f"{path.name} has {torn} unreadable line{'s' if torn > 1 else ''}, left out")


def _graph(path: Path, notes: list[str]) -> Graph | None:
    if not (source := _text(path, notes)):
        return None
    from assembler.graph.text import from_text

    try:
        return from_text(source)
    except (AssemblerError, ValueError) as error:
        notes.append(f"{path.name} cannot be read ({error})")
        return None


def _point(row: Mapping[str, Any]) -> Point | None:
    at = number(row.get("epoch"))
    at = number(row.get("step")) if at is None else at
    loss, validation = number(row.get("loss")), number(row.get("validation"))
    if at is None or (loss is None and validation is None):
        return None
    phase, label = text(row.get("phase")) or "training", text(row.get("label"))
    task = f"{text(row.get('task'))}/{text(row.get('seed'))}"
    return Point(phase, label or phase, task, at, loss, validation)


def _candidate(row: Mapping[str, Any]) -> Candidate:
    choice = row.get("choice")
    return Candidate(
        choice={str(k): text(v) for k, v in choice.items()} if isinstance(choice, Mapping) else {},
        seed=whole(row.get("seed")),
        params=number(row.get("params")),
        flops=number(row.get("flops")),
        estimate=number(row.get("estimate")),
        score=number(row.get("score")),
        feasible=row.get("feasible") is not False,
        reason=text(row.get("reason")),
        number=whole(row.get("number")),
        values=tuple(numbers(row.get("values"))),
    )


def _part(row: Mapping[str, Any]) -> Part:
    return Part(
        slot=text(row.get("slot")) or "?",
        variant=text(row.get("variant")) or "?",
        seed=whole(row.get("seed")),
        params=number(row.get("params")),
        flops=number(row.get("flops")),
        loss=number(row.get("loss")),
        score=number(row.get("score")),
        train_flops=number(row.get("train_flops")),
        seconds=number(row.get("seconds")),
        failed=row.get("status") == "failed",
        reason=text(row.get("reason")),
    )
