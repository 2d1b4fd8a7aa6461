"""One-shot search as tasks: one trains the shared weights, and one scores a candidate with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from assembler.assemble.job import Job
from assembler.assemble.models import Training
from assembler.assemble.supernet.score import score_candidate
from assembler.assemble.supernet.training import Places, train_supernet
from assembler.assemble.task import Task, module_code, task
from assembler.compile.weights import save_weights
from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.graph.text import from_text, to_text
from assembler.pipeline.code import code_of
from assembler.pipeline.jobs import PARENT, SHARED, WEIGHTS, data_of, library_of, task_of
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.costs import BUDGETED
from assembler.pipeline.search.modes import Trials
from assembler.pipeline.training import Setting
from assembler.recipe.choices import Choice
from assembler.recipe.read import read_text
from assembler.recipe.write import to_yaml
from assembler.search.trial import Trial
from assembler.train.data.core import fingerprint
from assembler.train.device import resolve
from assembler.train.loop import Hooks
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec
from assembler.train.supernet import SupernetSpec
from assembler.train.terms import as_objective

METHOD = tuple(
    f"assembler.assemble.supernet.{name}"
    for name in ("score", "library", "stepping", "policy", "training", "darts", "relaxed")
)


def train(job: Job) -> dict[str, Any]:
    """The shared weights of all candidates of a space."""
    said = job.inputs
    candidates = Candidates(read_text(said["recipe"], "the space"), "model", (*BUDGETED, *said["budget"]))
    space = candidates.space.unmoved
    limits: Mapping[str, float] = said["budget"]

    def refusal(choice: Choice) -> str:
        costs = candidates.cost(choice)
        over = [f"{n} {costs[n]:,.0f} > {limit:,.0f}" for n, limit in limits.items() if costs[n] > limit]
        return ", ".join(over) or space.refusal(choice, costs)

    found = train_supernet(
        Places(space, candidates.graph, refusal),
        data_of(job),
        task_of(job),
        Training(Objective.from_spec(said["task"]), FitSpec.from_spec(said["train"]), said["seed"]),
        SupernetSpec.from_spec(said["supernet"]),
        device=resolve(said["device"]),
        hooks=Hooks(job.progress, job.log),
    )
    save_weights({name: tensor.detach().cpu() for name, tensor in found.library.tensors.items()}, job.out / WEIGHTS)
    return {
        "sharing": found.library.sharing,
        "tensors": len(found.library.tensors),
        "params": sum(tensor.numel() for tensor in found.library.params.values()),
        "train_flops": found.train_flops,
        "steps": found.fit.steps,
        "preferred": None
        if found.preferred is None
        else {name: list(p) if isinstance(p, tuple) else p for name, p in found.preferred.items()},
    }


def score(job: Job) -> dict[str, Any]:
    """What a candidate is worth with the shared weights."""
    library = library_of(job.needs[SHARED])
    graph = from_text(job.inputs["graph"])
    metric, loss = score_candidate(library, graph, data_of(job), task_of(job), resolve(job.inputs["device"]))
    return {"validation": metric, "loss": loss}


def supernet_task(candidates: Candidates, how: SupernetSpec, setting: Setting, budget: Mapping[str, float]) -> Task:
    """The task that trains the shared weights. Raises RecipeError where no candidate can be built."""
    train = {**setting.train, **({"epochs": how.epochs} if how.epochs is not None else {})}
    if how.epochs is not None:
        train.pop("steps", None)
    graphs = _covering(candidates)
    term = setting.term(graphs[0])
    inputs = {
        "recipe": to_yaml(candidates.model.drop("name", "doc")),
        "supernet": {"train": how.train, "paths": how.paths},
        "budget": dict(budget),
        "data": dict(setting.data),
        "data_id": fingerprint(setting.data),
        "task": term,
        "metric": setting.metric,
        "train": train,
        "seed": setting.seed,
        "device": setting.device,
    }
    code = {digest for graph in graphs for digest in code_of(graph, as_objective(term), train)} | set(
        map(module_code, METHOD)
    )
    return task(f"{__name__}:train", inputs, label=f"supernet of {candidates.name}", phase="search", code=code)


def _covering(candidates: Candidates) -> list[Graph]:
    """Graphs that between them have every candidate of every decision, as far as they can be built."""
    found, reason = [], ""
    for choice in candidates.space.unmoved.covering():
        try:
            found.append(candidates.graph(choice))
        except RecipeError as error:
            reason = error.problems[0].message
    if not found:
        raise RecipeError(f"no candidate of '{candidates.name}' can be built: {reason}")
    return found


@dataclass
class OneShot(Trials):
    """A candidate is worth what it does with the shared weights; `how.then` says what becomes of the winner."""

    graph: Callable[[Choice], Graph] = field(kw_only=True)
    shared: Task = field(kw_only=True)
    how: SupernetSpec = field(kw_only=True)

    def made(self, trial: Trial) -> Task:
        kept = ("data", "data_id", "task", "metric", "device")
        inputs = {name: self.shared.parameters[name] for name in kept}
        inputs |= {"graph": to_text(self.graph(trial.choice))}
        label = " ".join(trial.labels.values())
        run, code = f"{__name__}:score", [module_code(METHOD[0])]
        return task(run, inputs, {SHARED: self.shared}, label=label, phase="search", code=code, kept=False)

    def basis(self, first: Trial) -> str:
        return self.shared.key

    def weights(self, best: Trial) -> dict[str, Task]:
        final = self.final(best)
        return {PARENT: final} if final else {SHARED: self.shared}

    def spent(self, trials: Iterable[Trial]) -> list[Task]:
        return [self.shared]

    def final(self, best: Trial) -> Task | None:
        """The task that trains the winner; None where it is left as it is."""
        if self.how.then == "keep":
            return None
        made = self.make(best, {SHARED: self.shared} if self.how.then == "tune" else {})
        return replace(made, label=f"the winner, {made.label}")
