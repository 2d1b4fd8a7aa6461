"""How the trials of a search are made cheaper, as its section says, and what becomes of the winner."""

from __future__ import annotations

from dataclasses import replace

from assembler.assemble.plan import Failure
from assembler.assemble.product import Product
from assembler.assemble.runner import Runner
from assembler.assemble.task import Task
from assembler.errors import RecipeError, TaskError
from assembler.pipeline.checking.search import PARTS, RECKONED
from assembler.pipeline.search.assemblies import Assembler
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.modes import Inherit, Trials
from assembler.pipeline.search.pruning import Past
from assembler.pipeline.search.scoring import Scorer
from assembler.pipeline.search.screening import screened
from assembler.pipeline.search.settings import Settings, filled
from assembler.pipeline.search.supernets import OneShot, supernet_task
from assembler.pipeline.search.trainer import Trainer
from assembler.search.first import First
from assembler.search.samplers import Sampler
from assembler.search.trial import Study
from assembler.train.supernet import SupernetSpec

Maker = Trainer | Scorer | Assembler
"""What makes a task of a trial, and reads its values from the product."""


def mode_of(how: Settings, maker: Maker) -> Trials:
    """What becomes of trials. Raises RecipeError where sections of the search do not go together."""
    signs = {name: 1 if goal == "maximize" else -1 for name, goal in how.goals.items()}
    past = Past(how.prune, signs, RECKONED, maker.steps, maker.seen) if how.prune else None
    make, read = maker.task, maker.read
    if how.mode == "parts" and not isinstance(maker, Assembler):
        raise RecipeError(f"'{maker.document.name}' has no slots with trained parts to search", path="search.mode",
                          hint=PARTS)  # fmt: skip
    if how.supernet and how.mode != "supernet":
        raise RecipeError(f"'supernet' is for mode: supernet, not {how.mode}", path="search.supernet")
    if how.mode in ("trials", "parts"):
        return Trials(make, read, past)
    if not isinstance(maker, Trainer):
        said = f"mode: {how.mode} trains candidates, and an objective scores them as they are built"
        raise RecipeError(said, path="search.mode", hint="leave the objective out, or search with mode='trials'")
    if how.mode == "inherit":
        return Inherit(make, read, past, next(iter(signs.values())), lambda task: maker.store.get(task.key) is not None)
    if past:
        raise RecipeError("with mode: supernet no trial is trained, so that none can be pruned", path="search.prune")
    spec, candidates = SupernetSpec.from_spec(how.supernet or {}), maker.candidates
    shared = supernet_task(
        candidates, spec, maker.setting(filled(how.train or {}, maker.document.model)), how.budget or {}
    )
    return OneShot(make, read, graph=candidates.graph, shared=shared, how=spec)


def sampler_of(sampler: Sampler, maker: Maker, mode: Trials, runner: Runner | None) -> Sampler:
    """The sampler behind the screen; what a supernet has come to prefer is asked for first."""
    how = maker.how
    if how.screen and isinstance(maker.candidates, Candidates):
        sampler = screened(sampler, how.screen, maker.candidates, lambda: maker.data, how.budget)
    if isinstance(mode, OneShot) and mode.how.train in ("enas", "darts"):
        wanted = _made(mode.shared, runner).result["preferred"].items()
        sampler = First(sampler, [{name: tuple(p) if isinstance(p, list) else p for name, p in wanted}])
    return sampler


def _made(wanted: Task, runner: Runner | None) -> Product:
    assert runner is not None  # only trainings have such tasks
    made = runner.run([wanted])[wanted]
    if isinstance(made, Failure):
        raise TaskError(f"{wanted.name}: {made.reason}")
    return made


def finished(study: Study, mode: Trials, runner: Runner | None) -> Study:
    """The study with what its winner came to when it was trained at last, where that is due."""
    last = mode.final(study.best) if study.best else None
    if last is None:
        return study
    made = _made(last, runner)
    return replace(study, final=float(made.result["validation"]), product=str(made.path))
