"""The search loop: ask, drop what does not fit, replay what is known, have the rest evaluated, tell.

As many trials are open as the evaluator takes. What equals an open trial waits for it, whoever evaluates that.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from assembler.errors import InputError
from assembler.recipe.choices import Choice, Space
from assembler.search.evaluators import Evaluator, Outcome
from assembler.search.judge import Judge
from assembler.search.log import Log, News, Queued
from assembler.search.moves import Frozen, frozen
from assembler.search.pareto import Direction
from assembler.search.samplers.base import Sampler, Values
from assembler.search.trial import Stop, Trial
from assembler.search.watch import Watch

_IDLE = 1000  # candidates in a row that were over the budget or known already, after which a search gives up
_WAITING = 16  # trials a worker that may wait for equal ones
_FRESH = 0.05  # seconds in which others cannot have done much
_PAUSE = 0.2  # seconds between two looks at what others did


@dataclass
class Loop:
    """A search under way. `trials` have ended, `open` are being evaluated, `waiting` wait for an equal one, by key.

    The choice `ahead` was asked for and is to be taken next; `lost` ones were begun and are begun again.
    """

    space: Space
    sampler: Sampler
    evaluator: Evaluator
    judge: Judge
    log: Log
    directions: Sequence[Direction]
    wanted: int
    watch: Watch = field(default_factory=Watch)
    trials: dict[int, Trial] = field(default_factory=dict)
    open: dict[int, Trial] = field(default_factory=dict)
    waiting: dict[str, list[Trial]] = field(default_factory=lambda: defaultdict(list))
    known: dict[str, Trial] = field(default_factory=dict)
    seen: dict[Frozen, int] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    others: News = field(default=News())
    evaluated: int = 0
    idle: int = 0
    dry: bool = False
    heard: float = -math.inf
    ahead: Choice | None = None
    lost: set[Frozen] = field(default_factory=set)

    def run(self, timeout: float | None) -> Stop:
        """Search until something ends it; trials that are open then are waited for."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            if time.monotonic() - self.heard > _FRESH:
                self.hear()
                self.resume()
            stop = self.stop(end)
            while stop is None and self.free() and (queued := self.take()) is not None:
                self.begin(*queued)
                stop = self.stop(end)
            if not self.open and not any(self.waiting.values()) and (stop or (self.dry and not self.others.running)):
                return stop or "exhausted"
            self.collect()

    def stop(self, end: float | None) -> Stop | None:
        """Why nothing more is to be begun, where that is so."""
        if self.evaluated >= self.most:
            return "trials"
        if end is not None and time.monotonic() >= end:
            return "timeout"
        if self.others.orders.stop:
            return "stopped"
        return "idle" if self.idle >= _IDLE else None

    @property
    def most(self) -> int:
        """How many evaluations there are to be."""
        return max(self.wanted, self.others.orders.trials)

    def free(self) -> bool:
        """Whether another trial may be begun: somebody is free, and the open ones do not use up the number of trials.

        All of them are counted, though what is open may turn out to be lost and what waits a duplicate; then more are
        begun later.
        """
        waiting = sum(map(len, self.waiting.values()))
        begun = self.evaluated + len(self.open) + waiting + len(self.others.running)
        workers = self.evaluator.workers
        return len(self.open) < workers and begun < self.most and waiting < _WAITING * workers and not self.dry

    def take(self) -> tuple[Choice, Queued | None] | None:
        """The next choice: what is queued, else what the sampler wants; None where there is nothing for now.

        Where all choices have been looked at, only what is to be evaluated once more on purpose is taken.
        """
        for queued in self.others.queued:
            self.others = replace(self.others, queued=self.others.queued[1:])
            return queued.choice, queued
        choice = self.ahead or self.sampler.ask()
        self.ahead = None
        if choice is not None and len(self.seen) == self.space.size and not self.sampler.renewed(choice):
            choice = None
        self.dry = choice is None
        return None if choice is None else (choice, None)

    def begin(self, choice: Choice, queued: Queued | None) -> None:
        """Judge a choice, write it down, and have it evaluated unless that is known to be needless."""
        if queued and queued.problem:
            if wrong := self.log.start(Trial(-1, choice, None, "infeasible", reason=queued.problem), queued):
                self.enter(wrong)
            return
        trial = self.judge.trial(choice, self.sampler.estimate(choice))
        trial = self.descended(trial) if queued is None else trial
        if trial.state == "running" and trial.key in self.known and not self.sampler.renewed(choice):
            trial = self.same(trial)
        started = self.log.start(trial, queued)
        if started is None:
            return
        if started.state != "running":
            self.enter(started)
            return
        self.seen.setdefault(frozen(choice), started.number)
        if self.log.shared:
            self.hear()
        self.place(started)

    def descended(self, trial: Trial) -> Trial:
        """A trial with where its sampler has it from."""
        if parent := self.sampler.parent(trial.choice):
            return replace(trial, parent=self.seen.get(frozen(parent)))
        if origin := self.sampler.origin(trial.choice):
            best = self.seen.get(frozen(origin.best)) if origin.best else None
            return replace(trial, origin=origin.words, best_known=best)
        return trial

    def place(self, trial: Trial) -> None:
        """Evaluate a trial that has begun, unless the same is known, is being evaluated, or there are enough."""
        if trial.key in self.known and not self.sampler.renewed(trial.choice):
            self.close(self.same(trial))
        elif self.under_way(trial):
            self.waiting[trial.key].append(trial)
        elif self.surplus(trial):
            self.close(replace(trial, state="infeasible", reason=f"the study has its {self.most:,} trials"))
        else:
            trial = replace(trial, repeat=self.repeats[trial.key])
            self.open[trial.number] = trial
            self.evaluator.submit(trial)

    def under_way(self, trial: Trial) -> bool:
        """Whether an equal trial is being evaluated; of two that others and we begin at once, the later one waits."""
        ours = any(t.key == trial.key for t in self.open.values())
        return ours or any(t.key == trial.key and t.number < trial.number for t in self.others.running)

    def surplus(self, trial: Trial) -> bool:
        """Whether there are enough trials without this one: others may have begun theirs in the same moment."""
        before = len(self.open) + sum(t.number < trial.number for t in self.others.running)
        return self.evaluated + before >= self.most

    def collect(self) -> None:
        """Wait for trials to end, for a moment where others write to the same log."""
        if not self.open:
            time.sleep(_PAUSE)
            return
        for number, outcome in self.evaluator.wait(_PAUSE if self.log.shared else None):
            self.close(self.finished(self.open.pop(number), outcome))

    def finished(self, trial: Trial, outcome: Outcome) -> Trial:
        """A trial with what came of it."""
        values, trial = outcome.values, replace(trial, curve=outcome.curve, inherited=outcome.inherited)
        if values is None:
            return replace(trial, state="pruned" if outcome.state == "pruned" else "failed", reason=outcome.reason)
        if len(values) != len(self.directions):
            said = f"the objective gave {len(values)} values"
            raise InputError(said, hint=f"give {len(values)} directions, not {len(self.directions)}")
        if not all(map(math.isfinite, values)):
            said = str(values[0]) if len(values) == 1 else str(values)
            return replace(trial, state="failed", reason=f"the value is {said}")
        return replace(trial, state=outcome.state, values=values)

    def same(self, trial: Trial) -> Trial:
        """A trial with the result of the equal one before it."""
        first = self.known[trial.key]
        again = f"same as trial {first.number}" + (f": {first.reason}" if first.reason else "")
        return replace(trial, state="duplicate", values=first.values, reason=again)

    def close(self, trial: Trial) -> None:
        """End a trial, unless another has ended it: then that is news."""
        if self.log.end(trial):
            self.enter(trial)

    def enter(self, trial: Trial) -> None:
        """Take a trial in that has ended, and tell."""
        self.idle = self.idle + 1 if trial.state in ("infeasible", "duplicate") else 0
        self.learn(trial)
        self.resume(trial.key)
        self.watch(trial)

    def learn(self, trial: Trial) -> None:
        """Remember a trial and tell the sampler."""
        self.trials[trial.number] = trial
        self.evaluator.heard(trial)
        self.dry = False
        if trial.counts:
            self.evaluated += 1
            self.repeats[trial.key] += 1
            self.known.setdefault(trial.key, trial)
        if trial.choice and not trial.again:
            self.seen.setdefault(frozen(trial.choice), trial.number)
            self.sampler.tell(trial.choice, None if trial.values is None else self.told(trial.values))

    def resume(self, *keys: str) -> None:
        """Place the trials that waited for an equal one which is under way no longer."""
        for key in keys or list(self.waiting):
            waiting = self.waiting.pop(key, [])
            for trial in waiting:
                self.place(trial)

    def hear(self) -> None:
        """Take in what others did."""
        self.others = news = self.log.news()
        past = self.heard == -math.inf
        self.heard = time.monotonic() if self.log.shared else math.inf
        self.judge.bans = news.orders.bans
        self.watch.wanted(int(min(self.most, self.sampler.most())))
        self.remember((t for t in news.ended if t.number not in self.trials), past=past)

    def remember(self, trials: Iterable[Trial], *, past: bool = False) -> None:
        """Take in trials that ended elsewhere or, in the `past`, before this search began."""
        for trial in trials:
            self.open.pop(trial.number, None)
            if past and trial.choice:
                self.retrace(trial)
            self.learn(trial)
            self.watch.heard(trial)

    def retrace(self, trial: Trial) -> None:
        """Let the sampler ask for a trial of the past, so that it goes on as if the search had not been interrupted."""
        key = frozen(trial.choice)
        if key in self.lost:  # begun again: it was asked for once
            self.lost.discard(key)
            return
        self.ahead = self.ahead or self.sampler.ask()
        if self.ahead == trial.choice:
            self.ahead = None
        if trial.again:
            self.lost.add(key)

    def told(self, values: Values) -> Values:
        """Values as samplers hear them, more is better."""
        return tuple(v if d == "maximize" else -v for v, d in zip(values, self.directions, strict=True))
