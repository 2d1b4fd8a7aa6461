"""A study in a storage that several processes work on: trials are written as they begin, and end once.

Whoever finds a trial whose process died ends it and puts its choice back into the queue.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from assembler.errors import InputError, StoreError
from assembler.recipe.choices import Choice, Space
from assembler.search.crew import Crew, Member
from assembler.search.described import described, differences, is_another
from assembler.search.log import News, Queued
from assembler.search.records import FIXED, TRIAL, attributes, drawn, ending, known, parameters, state_of, trial_of
from assembler.search.steering import WANTED, orders
from assembler.search.trial import Trial

if TYPE_CHECKING:
    from assembler.search.storage import Access

SPACE, ABOUT = "assembler:space", "assembler:about"
OPEN = "assembler:recipe"
"""The recipe with its choices open."""
_ATTEMPTS = {False: 3, True: 10}
"""Times that the process which searches may die at a choice: where it evaluates, and where it does so apart, in worker
processes whose deaths it counts itself, so that its own seldom has to do with the choice."""
_HURRY = 5.0  # seconds that a database may be away where all is over anyway


class StudyLog:
    """A named study in a storage."""

    def __init__(
        self,
        access: Access,
        name: str,
        workers: int = 1,
        grace: float = 60.0,
        *,
        alone: bool = False,
        apart: bool = False,
    ) -> None:
        self.access, self.name = access, name
        self.workers, self.grace, self.alone, self.apart = workers, grace, alone, apart
        self.id: int = access(lambda s, again: s.get_study_id_from_name(name))

    @property
    def directions(self) -> tuple[str, ...]:
        """What each objective is to become."""
        return tuple(d.name.lower() for d in self.access(lambda s, again: s.get_study_directions(self.id)))

    @property
    def trials(self) -> list[Any]:
        """All trials as Optuna keeps them."""
        found: list[Any] = self.access(lambda s, again: s.get_all_trials(self.id, deepcopy=False))
        return found

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the study and of those who work on it."""
        found: dict[str, Any] = self.access(lambda s, again: s.get_study_system_attrs(self.id))
        return found

    def write(self, key: str, value: Any) -> None:
        """Note a fact about the study."""
        self.access(lambda s, again: s.set_study_system_attr(self.id, key, value))

    def history(self, space: Space) -> list[Trial]:
        """The trials that have ended and are not begun again, those that have no place in the space without choice."""
        found = (trial_of(t, space) for t in self.trials if t.state.is_finished())
        return [trial for trial in found if not trial.again]

    def enqueue(self, words: Mapping[str, Any]) -> int:
        """Put a choice, or a part of one, into the queue, by label; returns the number of the trial."""
        import optuna

        waiting = optuna.trial.create_trial(
            state=optuna.trial.TrialState.WAITING, system_attrs={FIXED: dict(words)}, user_attrs={TRIAL: {"attempt": 1}}
        )
        number: int = self.access(lambda s, again: s.get_trial(s.create_new_trial(self.id, waiting)).number)
        return number

    @contextmanager
    def join(
        self,
        space: Space,
        recipe: Callable[[Choice], str] | None = None,
        about: Mapping[str, Any] | None = None,
        wanted: int | None = None,
        text: str = "",
    ) -> Iterator[Shared]:
        """Work on the study within the block. `recipe` gives the text that is kept with each trial.

        `about` is what values depend on beside the choice: data, settings; `wanted` how many trials there are to be,
        and `text` the recipe with its choices open, for those who look on. Raises InputError where the study was made
        for another space or with other settings, with the difference, and where it is in SQLite and another process
        works on it.
        """
        lines = self._enter(space, about or {})
        if wanted is not None:
            self.write(WANTED, wanted)
        if text and self.facts.get(OPEN) != text:
            self.write(OPEN, text)
        member = Member(self.write, self.workers, self.grace)
        shared = Shared(self, space, member, recipe, changes=tuple(lines))
        try:
            yield shared
        except BaseException:
            self.access.patience = min(self.access.patience, _HURRY)
            with suppress(StoreError):  # where the storage is away, others find what was left
                shared.drop("it was interrupted")
            raise
        finally:
            with suppress(StoreError):
                member.leave()

    def about(self, wanted: Mapping[str, Any]) -> list[str]:
        """How what the study was made with differs from what is wanted, a line each."""
        before = self.facts.get(ABOUT, {})
        return [f"{k}: {before[k]} there, {v} here" for k, v in wanted.items() if k in before and before[k] != v]

    def forget(self) -> None:
        """Delete the study with all its trials."""
        self.access(lambda s, again: s.delete_study(self.id))

    def _enter(self, space: Space, about: Mapping[str, Any]) -> list[str]:
        """Note what the study is about; returns how the space has changed."""
        facts, new = self.facts, described(space)
        where = f"study '{self.name}' in {self.access.url}"
        if self.alone:
            dead = Crew(self.grace).dead(facts)
            alive = [
                f for k, f in facts.items() if k.startswith("assembler:worker:") and k.rpartition(":")[2] not in dead
            ]
            if alive:
                said = f"process {alive[0]['pid']} on {alive[0]['host']} works on {where}, and SQLite is for one"
                raise InputError(said, hint="use journal:///study.log")
        if other := self.about(about):
            said = f"{where} was made with other settings: {'; '.join(other)}"
            raise InputError(said, hint="give the study another name")
        before = facts.get(ABOUT, {})
        old = facts.get(SPACE, {})
        lines = differences(old, new) if old else []
        if is_another(old, new):
            said = f"{where} was made for another space: {'; '.join(lines)}"
            raise InputError(said, hint="give the study another name")
        if old != new:
            self.write(SPACE, new)
        if before != {**before, **about}:
            self.write(ABOUT, {**before, **about})
        return lines


@dataclass
class Shared:
    """A study that this process works on; a `Log` for the search loop.

    `changes` says how the space differs from the one that the study had before.
    """

    study: StudyLog
    space: Space
    member: Member
    recipe: Callable[[Choice], str] | None = None
    changes: tuple[str, ...] = ()
    shared: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self._crew = Crew(self.study.grace)
        self._before = self.study.facts
        self._mine: dict[int, int] = {}  # ids by number of the trials that are open here
        self._from = 0  # all trials before this one are told
        self._told: set[int] = set()
        self._taken: dict[str, Any] = {}
        self._nameless: dict[int, float] = {}
        self._fresh: list[Any] | None = None  # all trials as they were when the last one began
        self._facts_now: dict[str, Any] = self._before

    # -- trials of this process --------------------------------------------------------------------------------------

    def start(self, trial: Trial, queued: Queued | None = None) -> Trial | None:
        """Write down that a trial begins, or all of it where it is not running."""
        identifier = self._claimed(queued, trial) if queued else self._created(trial)
        if identifier is None:
            return None
        self._fresh = self.study.trials
        number: int = next(t.number for t in reversed(self._fresh) if t._trial_id == identifier)
        started = replace(trial, number=number)
        self._mine[number] = identifier
        if queued and trial.state != "running":
            return started if self.end(started) else None
        if trial.state != "running":
            self._forget(number)
        return started

    def end(self, trial: Trial) -> bool:
        """Write down what came of a trial; False where another has ended it, having taken this process for dead."""
        identifier = self._mine[trial.number]
        ended = self._finish(identifier, trial)
        self._forget(trial.number)
        if not ended:
            self._told.discard(trial.number)
        return ended

    def drop(self, reason: str) -> None:
        """End all open trials and put their choices back into the queue."""
        by_number = {t.number: t for t in self.study.trials}
        for number in list(self._mine):
            self._requeue(by_number[number], reason, at_fault=False)
            self._forget(number)

    def _forget(self, number: int) -> None:
        del self._mine[number]
        self._told.add(number)

    def _created(self, trial: Trial) -> int:
        import optuna

        params, distributions = parameters(self.space, trial.choice, self._taken)
        token = uuid.uuid4().hex
        kept = {TRIAL: {**self._facts(trial), "token": token, "attempt": 1}}
        begun = {} if trial.state == "running" else {"end": ending(trial)}
        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState[state_of(trial)],
            values=trial.values,
            params=params,
            distributions=distributions,
            user_attrs={**kept, **begun},
        )
        template.datetime_start = template.datetime_start or datetime.now()

        def create(storage: Any, again: bool) -> int:
            if again:  # the try before may have come through
                for there in reversed(storage.get_all_trials(self.study.id, deepcopy=False)):
                    if known(there).get("token") == token:
                        return int(there._trial_id)
            return int(storage.create_new_trial(self.study.id, template))

        return self.study.access(create)

    def _claimed(self, queued: Queued, trial: Trial) -> int | None:
        """Take a trial off the queue, unless another was faster."""
        import optuna

        waiting = self.study.trials[queued.number]
        identifier = int(waiting._trial_id)
        running = optuna.trial.TrialState.RUNNING
        try:
            if not self.study.access(lambda s, again: s.set_trial_state_values(identifier, running)):
                return None
            self.study.access(lambda s, again: self._describe(s, identifier, trial))
        except optuna.exceptions.UpdateFinishedTrialError:
            return None
        return identifier

    def _describe(self, storage: Any, identifier: int, trial: Trial) -> None:
        there = storage.get_trial(identifier)
        storage.set_trial_user_attr(identifier, TRIAL, {**known(there), **self._facts(trial)})
        params, distributions = parameters(self.space, trial.choice, self._taken)
        for name, kind in distributions.items():
            if name not in there.params:
                storage.set_trial_param(identifier, name, kind.to_internal_repr(params[name]), kind)

    def _facts(self, trial: Trial) -> dict[str, Any]:
        kept = {**attributes(self.space, trial), "worker": self.member.name, "apart": self.study.apart}
        if self.recipe and trial.choice and trial.state != "infeasible":
            kept["recipe"] = self.recipe(trial.choice)
        return kept

    def _finish(self, identifier: int, trial: Trial, *, lost: bool = False) -> bool:
        import optuna

        state = optuna.trial.TrialState[state_of(trial)]
        said, where = {**ending(trial), "by": self.member.name}, "lost" if lost else "end"

        def finish(storage: Any, again: bool) -> bool:
            try:
                storage.set_trial_user_attr(identifier, where, said)
                return bool(storage.set_trial_state_values(identifier, state, trial.values))
            except optuna.exceptions.UpdateFinishedTrialError:
                there = storage.get_trial(identifier)
                return again and there.user_attrs.get(where) == said and there.state == state

        return self.study.access(finish)

    # -- what others do ----------------------------------------------------------------------------------------------

    def news(self) -> News:
        """What others did since the last call; trials of those who died are ended and queued again on the way."""
        if self._fresh is None:
            self._facts_now = self.study.facts
        facts, trials = self._facts_now, self._fresh or self.study.trials
        self._fresh = None
        dead = self._crew.dead(facts)
        if lost := [t for t in self._others(trials) if t.state.name == "RUNNING" and self._is_lost(t, dead)]:
            for frozen in lost:
                self._requeue(frozen, "its worker died")
            trials = self.study.trials
        ended: list[Trial] = []
        running: list[Trial] = []
        queued: list[Queued] = []
        for frozen in self._others(trials):
            if frozen.state.is_finished():
                self._told.add(frozen.number)
                self._taken |= frozen.distributions
                ended.append(trial_of(frozen, self.space))
            elif frozen.state.name == "WAITING":
                queued.append(self._queued(frozen))
            else:
                running.append(trial_of(frozen, self.space))
        while self._from in self._told:
            self._told.remove(self._from)
            self._from += 1
        return News(tuple(ended), tuple(running), tuple(queued), orders(facts, self._before))

    def _others(self, trials: list[Any]) -> list[Any]:
        """The trials that are neither told nor open here."""
        return [t for t in trials[self._from :] if t.number not in self._told and t.number not in self._mine]

    def _is_lost(self, frozen: Any, dead: set[str]) -> bool:
        """Whether nobody is at a running trial. One that bears no name was perhaps taken off the queue just now."""
        worker = known(frozen).get("worker")
        if worker is not None:
            return worker in dead or worker == self.member.name
        now = time.monotonic()
        return now - self._nameless.setdefault(frozen.number, now) > self.study.grace

    def _queued(self, frozen: Any) -> Queued:
        words = frozen.system_attrs.get(FIXED, {})
        rng = random.Random(frozen.number)
        choice, problem, _ = drawn(self.space, words, rng)
        return Queued(frozen.number, choice or {}, problem)

    def _requeue(self, frozen: Any, reason: str, *, at_fault: bool = True) -> None:
        """End a trial that nobody is at any more, and begin it again later, unless it was tried often enough."""
        attempt = known(frozen).get("attempt", 1)
        again = not at_fault or attempt < _ATTEMPTS[bool(known(frozen).get("apart"))]
        said = reason if again else f"{reason} {attempt} times"
        lost = replace(trial_of(frozen, self.space), state="failed", reason=said, again=again)
        if self._finish(frozen._trial_id, lost, lost=True) and again:
            import optuna

            words = _words(frozen)
            waiting = optuna.trial.create_trial(
                state=optuna.trial.TrialState.WAITING,
                system_attrs={FIXED: words},
                user_attrs={TRIAL: {**_kin(frozen), "attempt": attempt + at_fault, "again": frozen.number}},
            )
            self.study.access(lambda s, again: s.create_new_trial(self.study.id, waiting))


def _kin(frozen: Any) -> dict[str, Any]:
    return {key: value for key, value in known(frozen).items() if key in ("parent", "origin", "best")}


def _words(frozen: Any) -> dict[str, Any]:
    if "choice" not in known(frozen):
        return dict(frozen.system_attrs.get(FIXED, frozen.params))
    kept: dict[str, Any] = json.loads(known(frozen)["choice"])
    return kept
