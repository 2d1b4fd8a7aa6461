"""A search by a function of the user's: it scores the module of each candidate, here or in worker processes."""

from __future__ import annotations

import base64
import math
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import spawn
from pathlib import Path
from typing import Any, ClassVar

import torch

from assembler.assemble.job import Job
from assembler.assemble.product import Product
from assembler.assemble.task import Task, task
from assembler.compile.lower import lower
from assembler.compile.model import Compiled
from assembler.errors import InputError, TaskError
from assembler.graph.core import Graph
from assembler.graph.text import from_text, to_text
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.costs import BUDGETED
from assembler.pipeline.search.pruning import Past, Watch, points, vector
from assembler.pipeline.search.settings import Settings
from assembler.pipeline.weights.loading import load_into
from assembler.recipe.choices import Choice, decide
from assembler.recipe.document import Document
from assembler.recipe.read import read_text
from assembler.recipe.values import Map
from assembler.recipe.write import to_yaml
from assembler.search.evaluators import InProcess, Outcome, outcome
from assembler.search.trial import Trial

Score = float | Sequence[float]
ObjectiveFunction = Callable[[Compiled], Score | Iterator[Score]]
"""Gives a module's score, or yields how it stands step by step, the last of which is its score."""
_MAIN = ("init_main_from_name", "init_main_from_path")


def begun(
    graph: Graph,
    model: Map,
    folder: Path,
    weights: str | Path | None = None,
    *,
    seed: int | None = 0,
    device: str | torch.device = "cpu",
) -> Compiled:
    """The module of a graph with the weights given, or those that its recipe names."""
    module = lower(graph, seed=seed, device=device)
    load_into(module, model, folder, weights)
    if isinstance(model.get("graph"), Map):
        module.meta["recipe"] = model
    return module


def sent(objective: ObjectiveFunction) -> dict[str, Any]:
    """An objective as plain data for worker processes, which import it under its name.

    Raises InputError for one that has none: a lambda, a function inside a function, one typed at a prompt.
    """
    hint = "define it at the top of a module, or search with one worker"
    try:
        data = pickle.dumps(objective)
    except Exception as error:
        said = f"the objective cannot be sent to worker processes: {error}"
        raise InputError(said, hint=hint) from None
    main = {k: v for k, v in spawn.get_preparation_data("objective").items() if k in _MAIN}
    if b"__main__" in data and not main:
        raise InputError("the objective is not in a file that worker processes could import", hint=hint)
    return {"objective": base64.b64encode(data).decode(), "main": main}


@dataclass(frozen=True)
class Scorer:
    """Trials as calls of a function of the user's on the module of each candidate.

    It gives one value for each objective that is no cost, or yields them step by step and so can be ended early. It is
    called here, or `away` in worker processes.
    """

    document: Document
    candidates: Candidates
    how: Settings
    function: ObjectiveFunction
    away: bool = False

    devices: ClassVar[tuple[str, ...]] = ()
    steps = None
    additive = None

    @property
    def about(self) -> dict[str, Any]:
        """What a study of it is about beside its choices: what the values are called."""
        return {"objectives": list(self.how.goals)}

    @property
    def seen(self) -> tuple[str, ...]:
        """The objectives that the function gives values for, in its order."""
        return tuple(name for name in self.how.goals if name not in BUDGETED)

    @property
    def data(self) -> Mapping[str, Any]:
        """The data that screens look at."""
        return self.how.data_for("a screen looks at samples")

    @cached_property
    def sent(self) -> dict[str, Any]:
        """The function for worker processes."""
        return sent(self.function)

    def check(self) -> None:
        """Raise InputError where the function cannot be called as it is to be."""
        if self.away:
            _ = self.sent

    def key(self, choice: Choice) -> str:
        """What candidates share that are the same model."""
        return self.candidates.fingerprint(choice)

    def task(self, trial: Trial, more: Mapping[str, Task]) -> Task:
        """The task that scores a trial: never kept, since nobody knows what a function depends on."""
        graph, decided = self._made(trial)
        inputs = {
            **self.sent,
            "graph": to_text(graph),
            "recipe": to_yaml(decided),
            "folder": str(self.document.folder),
            "seed": self.how.seed + trial.repeat,
            "trial": trial.number,
        }
        label = " ".join(trial.labels.values())
        return task("assembler.pipeline.search.scoring:score", inputs, more, label=label, phase="search", kept=False)

    def read(self, trial: Trial, product: Product) -> Outcome:
        """What `score` found."""
        values = tuple(map(float, product.result["values"]))
        return self.valued(trial, Outcome(values, curve=points(product.result["curve"])))

    def valued(self, trial: Trial, found: Outcome) -> Outcome:
        """The values of a trial: those of the function, and costs. Raises InputError for too many or too few."""
        if found.values is None:
            return found
        if len(found.values) != len(self.seen):
            given, wanted = len(found.values), len(self.seen)
            raise InputError(f"the objective gave {given} values", hint=f"give {given} directions, not {wanted}")
        seen = dict(zip(self.seen, found.values, strict=True))
        return replace(found, values=vector(self.how.goals, seen, trial.costs))

    def here(self, past: Past | None, limit: float | None) -> InProcess:
        """What scores trials in this process."""

        def scored(trial: Trial) -> Outcome:
            graph, decided = self._made(trial)
            module = begun(graph, decided, self.document.folder, seed=self.how.seed + trial.repeat)
            return followed(self.function(module), Watch(past.told(trial)) if past else None)

        return InProcess(scored, limit, self.valued, past.enter if past else lambda trial: None)

    def _made(self, trial: Trial) -> tuple[Graph, Map]:
        return self.candidates.graph(trial.choice), decide(self.document.model, trial.choice)


def score(job: Job) -> dict[str, Any]:
    """The values of a candidate, as texts, since JSON knows no NaN, and what was reported on the way."""
    objective = _objective(job.inputs["objective"], job.inputs["main"])
    model = read_text(job.inputs["recipe"], "the candidate")
    graph = from_text(job.inputs["graph"])
    module = begun(graph, model, Path(job.inputs["folder"]), seed=job.inputs["seed"])
    job.ready()
    found = followed(objective(module), Watch(job.beside["prune"]) if "prune" in job.beside else None)
    if found.values is None:
        raise TaskError(found.reason)
    return {"values": [repr(value) for value in found.values], "curve": [[step, list(v)] for step, v in found.curve]}


def followed(given: object, watch: Watch | None) -> Outcome:
    """What an objective gave. One that yields reports all that it yields, and the last of it is what it gives."""
    if not isinstance(given, Iterator):
        return outcome(given)
    last = Outcome(None, "the objective yielded nothing", "failed")
    for step, value in enumerate(given, 1):
        last = outcome(value)
        if watch and last.values and len(last.values) == watch.size and all(map(math.isfinite, last.values)):
            watch.report(step, last.values)
    return replace(last, curve=tuple(watch.curve)) if watch else last


def _objective(text: str, main: Mapping[str, str]) -> ObjectiveFunction:
    """The function that our own parent process has sent; its script is run under another name than `__main__`."""
    spawn.prepare(dict(main))  # does nothing where it was done before
    found: ObjectiveFunction = pickle.loads(base64.b64decode(text))
    return found
