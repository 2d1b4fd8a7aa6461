"""How the trials of a search are made cheaper, as its section says, and what becomes of the winner."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assembler.assemble.plan import Failure
from assembler.assemble.runner import Runner
from assembler.errors import RecipeError, TaskError
from assembler.pipeline.candidates import BUDGETED
from assembler.pipeline.modes import Inherit, Trials
from assembler.pipeline.pruning import Past
from assembler.pipeline.screening import screened
from assembler.pipeline.supernets import OneShot, supernet_task
from assembler.search.first import First
from assembler.search.samplers import Sampler
from assembler.search.trial import Study
from assembler.train.spec import FitSpec
from assembler.train.supernet import SupernetSpec

if TYPE_CHECKING:
    from assembler.pipeline.searching import Settings, Trainer


def mode_of(how: Settings, trainer: Trainer) -> Trials:
    """What becomes of trials. Raises RecipeError where sections of the search do not go together."""
    signs = {name: 1 if goal == "maximize" else -1 for name, goal in how.goals.items()}
    past = Past(how.prune, signs, BUDGETED, _epochs(how.train or {})) if how.prune else None
    make, read = trainer.task, trainer.read
    if how.supernet and how.mode != "supernet":
        raise RecipeError(f"'supernet' is for mode: supernet, not {how.mode}", path="search.supernet")
    if how.mode == "supernet":
        if past:
            raise RecipeError(
                "with mode: supernet no trial is trained, so that none can be pruned", path="search.prune"
            )
        spec, candidates = SupernetSpec.from_spec(how.supernet or {}), trainer.candidates
        shared = supernet_task(candidates, spec, trainer.setting(0), how.budget or {})
        return OneShot(make, read, graph=candidates.graph, shared=shared, how=spec)
    if how.mode == "inherit":
        return Inherit(
            make, read, past, next(iter(signs.values())), lambda task: trainer.store.get(task.key) is not None
        )
    return Trials(make, read, past)


def _epochs(train: Mapping[str, Any]) -> int | None:
    spec = FitSpec.from_spec(train)
    return None if spec.steps else math.ceil(spec.epochs)


def sampler_of(sampler: Sampler, how: Settings, trainer: Trainer, mode: Trials, runner: Runner) -> Sampler:
    """The sampler behind the screen; what a supernet has come to prefer is asked for first."""
    if how.screen:
        sampler = screened(sampler, how.screen, trainer.candidates, trainer.setting(0).data, how.budget)
    if isinstance(mode, OneShot) and mode.how.train in ("enas", "darts"):
        made = runner.run([mode.shared])[mode.shared]
        if isinstance(made, Failure):
            raise TaskError(made.reason)
        wanted = made.result["preferred"].items()
        sampler = First(sampler, [{name: tuple(p) if isinstance(p, list) else p for name, p in wanted}])
    return sampler


def finished(study: Study, mode: Trials, runner: Runner) -> Study:
    """The study with what its winner came to when it was trained at last, where that is due."""
    last = mode.final(study.best) if study.best else None
    if last is None:
        return study
    made = runner.run([last])[last]
    if isinstance(made, Failure):
        raise TaskError(f"{last.name}: {made.reason}")
    return replace(study, final=float(made.result["validation"]), product=str(made.path))
