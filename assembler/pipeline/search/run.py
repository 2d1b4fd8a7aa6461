"""A search from a recipe to its study: candidates are trained and validated, or scored by a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from assembler import resources
from assembler.assemble.engines import make_pool
from assembler.assemble.runner import Event, Runner
from assembler.assemble.store import Store
from assembler.errors import RecipeError
from assembler.pipeline.cards import about
from assembler.pipeline.exporting import silent
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.cheaper import Maker, finished, mode_of, sampler_of
from assembler.pipeline.search.costs import latencies
from assembler.pipeline.search.evaluating import ByTasks
from assembler.pipeline.search.modes import Trials
from assembler.pipeline.search.scoring import ObjectiveFunction, Scorer
from assembler.pipeline.search.settings import Running, Settings
from assembler.pipeline.search.trainer import Trainer
from assembler.recipe.document import Document
from assembler.search.evaluators import Evaluator
from assembler.search.log import Log
from assembler.search.samplers import Sampler, SearchSpec, left_out, make
from assembler.search.storage import open_study
from assembler.search.study import Study, Trial, run
from assembler.search.watch import OnTrial
from assembler.train.device import resolve


def search_recipe(
    document: Document,
    how: Settings,
    running: Running | None = None,
    objective: ObjectiveFunction | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
    on_trial: OnTrial = None,
    tell: Callable[[str], None] = silent,
) -> Study:
    """Search the open choices of a recipe; each candidate is a task, so one that was trained before is read.

    With an `objective` that scores the module of each candidate nothing is trained, and it is called in this process
    if there is one worker. With a storage trials are kept and the same search goes on where it was; `tell` hears what
    changed since.
    """
    running = running or Running()
    store = Store(resources.store_home())
    with ExitStack() as stack:
        steps = stack.enter_context(latencies(store.root))
        candidates = opened(document, how.bounded if objective else how.reckoned, steps)
        maker: Trainer | Scorer = (
            Trainer(document, candidates, how, store, str(resolve(running.device)))
            if objective is None
            else Scorer(document, candidates, how, objective, running.workers > 1 or running.engine != "processes")
        )
        search = Search.of(maker)
        if said := left_out(how.sampler, candidates.space):
            tell(said)
        pool = None
        if maker.away:
            where: dict[str, Any] = {"address": running.address, "gpus": running.gpus, "devices": maker.devices}
            pool = make_pool(running.engine, store, running.workers, **where)
        log = stack.enter_context(kept(search, running, tell))
        runner = None
        if pool:
            runner = Runner(store, running.workers, on_event, limit=running.timeout, pool=pool, describe=about)
            stack.enter_context(runner)
        return search.run(runner, running, log, on_trial)


def opened(document: Document, costs: Collection[str], steps: dict[str, float] | None = None) -> Candidates:
    """The candidates of a recipe, whose `costs` are reckoned. Raises RecipeError where there are none.

    `steps` is a table of latencies.
    """
    candidates = Candidates(document.model, document.name, costs, steps)
    if not candidates.space.decisions:
        hint = "give it some: a space's choose:, or {$oneof: [...]} in the recipe"
        raise RecipeError(f"'{document.name}' has no open choices to search", hint=hint)
    candidates.begin()
    return candidates


@dataclass(frozen=True)
class Search:
    """A search that is ready to begin: what makes trials and how, what asks for them."""

    maker: Maker
    mode: Trials
    sampler: Sampler

    @staticmethod
    def of(maker: Maker) -> Search:
        """The search that the settings of a maker describe. Raises RecipeError or InputError for wrong ones."""
        how, candidates = maker.how, maker.candidates
        spec = SearchSpec(
            candidates.space, how.seed, len(how.goals), candidates.graph, maker.additive, candidates.growth
        )
        sampler = make(how.sampler, spec)
        mode = mode_of(how, maker)
        maker.check()
        return Search(maker, mode, sampler)

    @property
    def basis(self) -> str:
        """What stands for all that values depend on beside choices; empty where no candidate can be built."""
        for choice in self.maker.candidates.space.covering():
            with suppress(RecipeError):
                return self.mode.basis(Trial(-1, choice, None, "running"))
        return ""

    def run(
        self,
        runner: Runner | None,
        running: Running,
        log: Log | None = None,
        on_trial: OnTrial = None,
    ) -> Study:
        """Search with the workers of a runner, or in this process."""
        how, mode, candidates = self.maker.how, self.mode, self.maker.candidates
        evaluator: Evaluator
        if runner is not None:
            evaluator = ByTasks(runner, running.workers, mode.task, mode.read, mode.heard)
        else:
            assert isinstance(self.maker, Scorer)
            evaluator = self.maker.here(mode.past, running.timeout)
        sampler = sampler_of(self.sampler, self.maker, mode, runner)
        study = run(
            candidates.space,
            evaluator,
            sampler,
            how.trials,
            cost=candidates.cost,
            budget=how.budget,
            key=self.maker.key,
            where=candidates.refusal,
            on_trial=on_trial,
            directions=tuple(how.goals.values()),
            log=log,
        )
        return finished(replace(study, refused=getattr(sampler, "refused", 0)), mode, runner)


@contextmanager
def kept(
    search: Search, running: Running, tell: Callable[[str], None] = silent, *, basis: str = ""
) -> Iterator[Log | None]:
    """Where trials are kept within the block; None where they are not to be.

    With a `basis`, which stands for all that values depend on beside choices, a study that has another is begun anew.
    """
    if not running.storage:
        yield None
        return
    maker, candidates = search.maker, search.maker.candidates
    name, directions = running.study or maker.document.name, tuple(maker.how.goals.values())
    study = open_study(running.storage, name, directions, running.workers, apart=maker.away)
    about = {**maker.about, **({"basis": basis} if basis else {})}
    if basis and study.about(about):
        study.forget()
        study = open_study(running.storage, name, directions, running.workers, apart=maker.away)
    for fact, said in candidates.facts.items():
        study.write(fact, said)
    with study.join(candidates.space, candidates.recipe, about, maker.how.trials, candidates.text) as log:
        for line in log.changes:
            tell(f"the space has changed since: {line}")
        yield log
