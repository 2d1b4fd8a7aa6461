"""Progress on stderr: lines where nobody watches, bars on a terminal."""

from __future__ import annotations

import io
import re

import pytest

from assembler.assemble.runner import Event
from assembler.assemble.task import Task, task
from assembler.pipeline.progress import Progress
from assembler.pipeline.search.board import Board
from assembler.search.trial import State, Trial

RUN = "assembler.pipeline.jobs:train"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def made(number: int, phase: str = "incubate") -> Task:
    return task(RUN, {"number": number}, label=f"part {number}", phase=phase)


def test_lines_count_tasks_and_sum_up_what_is_reused() -> None:
    out = io.StringIO()
    one, two, three, four = map(made, range(4))
    with Progress(out) as progress:
        progress.tasks([one, two, three, four, made(9, "teacher")])
        progress.event(Event("reused", made(9, "teacher")))
        progress.event(Event("reused", one))
        progress.event(Event("started", two))
        progress.event(Event("progress", two, step=1, total=10, info={"loss": 0.5}))
        progress.event(Event("done", two, info={"score": 0.75, "loss": 0.25}, seconds=1.5))
        progress.event(Event("reused", two))  # a later phase looks again
        progress.event(Event("started", three))
        progress.event(Event("failed", three, reason="the loss is nan"))
        progress.event(Event("done", four, seconds=0.1))
    assert out.getvalue().splitlines() == [
        "[teacher] 1 reused",
        "[incubate] 1 reused",
        "[incubate 1/3] part 1: score 0.7500, loss 0.25, 1.5 s",
        "[incubate 2/3] part 2: failed: the loss is nan",
        "[incubate 3/3] part 3: 0.1 s",
    ]


def test_weights_that_a_first_run_has_just_read_are_not_called_reused() -> None:
    from assembler.pipeline.weights.initial import BEGIN

    out = io.StringIO()
    with Progress(out) as progress:
        progress.event(Event("reused", task(BEGIN, {"sha256": ""}, label="initial weights", phase="teacher")))
    assert out.getvalue() == ""


def test_lines_about_a_long_task_come_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("assembler.pipeline.progress.time.monotonic", lambda: clock[0])
    out, long = io.StringIO(), made(1)
    with Progress(out) as progress:
        progress.tasks([long])
        progress.event(Event("started", long))
        for step in range(1, 25):
            clock[0] += 0.125
            progress.event(Event("progress", long, step=step, total=328, info={"loss": 1 / step}))
    lines = out.getvalue().splitlines()
    assert lines == [
        "[incubate 0/1] part 1: step 8/328, loss 0.125, 8 steps/s, 0:40 left",
        "[incubate 0/1] part 1: step 16/328, loss 0.0625, 8 steps/s, 0:39 left",
        "[incubate 0/1] part 1: step 24/328, loss 0.04167, 8 steps/s, 0:38 left",
    ]


def test_a_terminal_gets_bars_and_the_reason_of_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out, one, two = Terminal(), made(1), made(2)
    with Progress(out) as progress:
        progress.phase("incubate")
        progress.tasks([one, two])
        progress.event(Event("started", one))
        progress.event(Event("progress", one, step=5, total=10, info={"loss": 0.5}))
        progress.event(Event("done", one))
        progress.event(Event("failed", two, reason="[red]odd"))
    assert "part 2: failed: [red]odd" in out.getvalue()
    assert "2/2 tasks" in out.getvalue() and "1 failed" in out.getvalue()


def test_control_characters_in_labels_do_not_reach_the_terminal() -> None:
    out = io.StringIO()
    with Progress(out) as progress:
        progress.event(Event("done", task(RUN, {}, label="a\x1b[2Jb", phase="p")))
    assert "\x1b" not in out.getvalue()


def tried(number: int, values: tuple[float, ...] | None, state: State = "complete", reason: str = "") -> Trial:
    return Trial(number, {}, values, state, {"params": 1000.0 * number}, reason=reason, labels={"mix": f"m{number}"})


TRIALS = [
    tried(0, (0.5,)),
    tried(1, (0.25,)),
    tried(2, None, "infeasible", "params 2,000 > 10"),
    tried(3, (0.75,)),
    tried(4, None, "failed", "the value is nan"),
    tried(5, None, "failed", "the value is nan"),
    tried(6, (0.75,)),
]


def test_lines_tell_each_new_best_trial() -> None:
    out = io.StringIO()
    with Progress(out) as progress:
        tell = progress.search("search", {"validation": "maximize"}, 8)
        for one in TRIALS:
            tell(one)
    assert out.getvalue().splitlines() == [
        "[search 1/8] best so far: trial 0, validation 0.5000, 0 params: mix=m0",
        "[search 3/8] best so far: trial 3, validation 0.7500, 3 k params: mix=m3",
    ]


def test_a_search_that_goes_on_counts_from_where_it_was_and_up_to_what_it_is_steered_to() -> None:
    out = io.StringIO()
    with Progress(out) as progress:
        watch = progress.search("search", {"validation": "maximize"}, 4)
        for one in TRIALS[:4]:
            watch.heard(one)
        watch.wanted(6)
        watch(tried(7, (0.5,)))
        watch(tried(8, (0.875,)))
        progress.event(Event("pruned", made(8, "search"), reason="below the median"))
    assert out.getvalue().splitlines() == [
        "[search 5/6] best so far: trial 8, validation 0.8750, 8 k params: mix=m8",
        "[search 4/6] part 8: pruned: below the median",
    ]


def test_a_terminal_shows_the_best_the_pace_and_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    with Progress(out) as progress:
        tell = progress.search("search", {"validation": "maximize"}, 8)
        for one in TRIALS:
            tell(one)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    assert "best so far  trial 3, validation 0.7500, 3 k params: mix=m3" in shown
    assert "trials       6 of 8, 2 failed, 1 infeasible, " in shown and " left" in shown
    assert "failed       the value is nan (2 times)" in shown and "infeasible   params 2,000 > 10 " in shown


def test_of_several_objectives_the_front_is_shown() -> None:
    board = Board({"validation": "maximize", "loss": "minimize"}, 4)
    ends = [(0.5, 1.0), (0.25, 0.5), (0.75, 0.4), (0.8, 0.9), (0.1, 2.0)]
    assert [board.enter(tried(i, values)) for i, values in enumerate(ends)] == [True, True, True, True, False]
    assert dict(board.lines())["front"] == "2 of validation, loss: 0.8, 0.9; 0.75, 0.4"
