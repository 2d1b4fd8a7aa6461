"""Runs a run recipe: its phases in order, then the test split once, then the run folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assembler import resources
from assembler.assemble.engines import Engine
from assembler.assemble.plan import Failure
from assembler.assemble.product import Product
from assembler.assemble.runner import Event, Runner
from assembler.assemble.store import Store
from assembler.assemble.task import Task
from assembler.errors import InputError
from assembler.pipeline import files
from assembler.pipeline.cards import about
from assembler.pipeline.checking import budgets
from assembler.pipeline.checking import fits as check_fits
from assembler.pipeline.exporting import silent
from assembler.pipeline.folders import Place
from assembler.pipeline.spec import read
from assembler.pipeline.spending import path_tasks
from assembler.pipeline.state import OnSearch, Run
from assembler.pipeline.summary import summary
from assembler.pipeline.training import test_task
from assembler.pipeline.weights import beginning
from assembler.recipe.document import Document
from assembler.train.device import resolve

OnEvent = Callable[[Event], None]
LOCAL = Engine()


def run_recipe(
    document: Document,
    *,
    workers: int | None = None,
    device: str = "auto",
    on_event: OnEvent | None = None,
    on_phase: Callable[[str], None] | None = None,
    on_tasks: Callable[[list[Task]], None] | None = None,
    on_search: OnSearch | None = None,
    tell: Callable[[str], None] = silent,
    engine: Engine = LOCAL,
) -> tuple[Path, dict[str, Any]]:
    """Run a recipe of kind `run`; what is finished in the parts store is read instead of being made again.

    A search that was interrupted goes on, trial by trial, in the folder that it has left. `on_tasks` is told which
    tasks are wanted next, before any of them is looked at, `on_search` that a search begins, `tell` what there is to
    say of the files that come out; `engine` is where the workers are. Returns the run folder and its summary. Raises
    RecipeError for a wrong recipe and TaskError where a phase cannot go on; parts that fail alone are named in the
    summary.
    """
    spec = read(document)
    budgets.check(spec)
    check_fits.check(spec)
    beginning.check(spec)
    start = time.monotonic()
    with Place(document) as place:
        store = Store(resources.store_home())
        count = workers or default_workers()
        pool = engine.pool(store, count, device)
        with Runner(store, count, on_event, pool=pool, describe=lambda t: about(t, state)) as runner:
            state = Run(spec, runner, str(resolve(device)), place=place, on_tasks=on_tasks, on_search=on_search)
            for phase in spec.phases:
                state.phase = phase.name
                if on_phase:
                    on_phase(phase.name)
                phase.entry.load()(state, **phase.options)
            state.phase = "test"
            if on_phase:
                on_phase("test")
            tests = _test(state)
        found = summary(state, tests, time.monotonic() - start)
        files.write(place.folder, state, found, tell)
        return place.folder, found


def default_workers() -> int:
    """One worker a core, eight at most: each takes memory for a model and its data."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _test(state: Run) -> dict[Task, Task]:
    """The test task of every finished model. What no phase asked for is made first."""
    if not state.models:
        raise InputError(f"no phase of '{state.spec.name}' makes a model", hint="for instance phases: {train: {}}")
    wanted = [made for by_seed in state.models.values() for made in by_seed.values()]
    state.make(wanted)
    state.make(t for seed in state.seeds for t in path_tasks(state, seed))
    tests = {}
    for made in dict.fromkeys(wanted):
        if isinstance(state.results[made], Product):
            tests[made] = test_task(made)
    state.make(tests.values())
    failed = [f for f in (state.results[m] for m in wanted) if isinstance(f, Failure)]
    if len(failed) == len(wanted) and failed:
        raise state.error(failed[0], "no model was finished")
    return tests
