"""The models that claims are about, trained by the phases of their runs: as tasks, in parallel, each done once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from assembler.assemble.plan import Failure
from assembler.assemble.product import Product
from assembler.assemble.runner import Runner
from assembler.assemble.task import Task, closure
from assembler.compile.lower import lower
from assembler.errors import InputError, Problem, RecipeError, Span, near
from assembler.pipeline.checking import budgets, fits
from assembler.pipeline.claims import budget
from assembler.pipeline.claims.exact import Trained
from assembler.pipeline.claims.spec import START, Claim
from assembler.pipeline.jobs import model_of
from assembler.pipeline.spec import RunSpec, read
from assembler.pipeline.spending import counted
from assembler.pipeline.state import Run
from assembler.pipeline.summary import main_model
from assembler.recipe.document import Document


@dataclass
class Workshop:
    """Makes the models of runs with one runner."""

    runner: Runner
    device: str = "auto"
    on_phase: Callable[[str], None] | None = None
    on_tasks: Callable[[list[Task]], None] | None = None

    def planned(self, spec: RunSpec, label: str = "") -> Run:
        """A run after all its phases but the exports; what they have not needed themselves is not made yet."""
        state = Run(spec, self.runner, self.device, on_tasks=self.on_tasks)
        for phase in spec.phases:
            if phase.entry.name == "export":
                continue
            state.phase = phase.name
            self.tell(f"{label}: {phase.name}" if label else phase.name)
            phase.entry.load()(state, **phase.options)
        return state

    def made(self, wanted: Iterable[Task]) -> dict[Task, Product | Failure]:
        """Products (or failures) of tasks that belong to no run, and of all that they need."""
        tasks = list(wanted)
        if self.on_tasks:
            self.on_tasks(closure(tasks, lambda t: self.runner.store.get(t.key) is None))
        return self.runner.run(tasks)

    def make(self, states: Sequence[Run], wanted: Sequence[Task]) -> None:
        """Make tasks of several runs together."""
        if wanted:
            states[0].make(wanted)
            for state in states[1:]:
                state.results |= {t: found for t, found in states[0].results.items() if t not in state.results}

    def tell(self, phase: str) -> None:
        """Say what is done now."""
        if self.on_phase:
            self.on_phase(phase)

    def equal(self, specs: Mapping[str, RunSpec], model: str) -> dict[str, RunSpec]:
        """The runs with as many steps as let the `model` of all cost the training FLOPs of the first run's.

        Only the phases that it stands on are changed.
        """
        first = {name: replace(spec, seeds=spec.seeds[:1]) for name, spec in specs.items()}
        states = {name: [self.planned(s, "one step") for s in budget.probes(spec)] for name, spec in first.items()}
        together = [state for some in states.values() for state in some]
        ends = {id(s): s.models[model_name(s, model)][s.seeds[0]] for s in together}
        self.make(together, [made for end in ends.values() for made in closure([end])])
        spent = {name: tuple(_spent(s, ends[id(s)]) for s in some) for name, some in states.items()}
        prices = {name: budget.prices(specs[name], found) for name, found in spent.items()}
        steps = budget.equal_steps(prices)
        return {
            name: budget.with_steps(spec, {p: n for p, n in steps[name].items() if n != prices[name][p].steps})
            for name, spec in specs.items()
        }


def runs(documents: Mapping[str, Document], claim: Claim, seeds: Sequence[int]) -> dict[str, RunSpec]:
    """The runs of several recipes as far as a claim needs them, with these seeds (else each its own).

    Raises RecipeError with all that is wrong with them, once: budgets that nothing meets, models that do not fit the
    data. Raises InputError where the data is missing.
    """
    found: dict[str, RunSpec] = {}
    problems: dict[tuple[str, Span | None], Problem] = {}
    for name, document in documents.items():
        spec = read(document)
        found[name] = needed(replace(spec, seeds=tuple(seeds) or spec.seeds), claim)
        try:
            budgets.check(found[name])
            fits.check(found[name])
        except RecipeError as error:
            for one in error.problems:
                own = "" if not name or (one.message, one.span) in problems else f"as arm '{name}' has it, "
                problems.setdefault((one.message, one.span), replace(one, message=f"{own}{one.message}"))
    if problems:
        raise RecipeError([*problems.values()])
    return found


def needed(spec: RunSpec, claim: Claim) -> RunSpec:
    """A run up to the phase of a claim's model, or the last phase that its metric or check names."""
    said = {*re.findall(r"\w+", f"{claim.metric} {claim.measure}")}
    names = [phase.name for phase in spec.phases]
    if claim.model not in names:
        return spec
    last = max(i for i, name in enumerate(names) if name == claim.model or name in said)
    return replace(spec, phases=spec.phases[: last + 1])


def _spent(state: Run, end: Task) -> dict[str, float]:
    """Training FLOPs of each phase that a model stands on. Raises what a failed training says."""
    found = counted(((made.phase, state.product(made)) for made in closure([end])), ["train_flops"])
    return {phase: float(flops) for phase, flops in found.items()}


def model_name(state: Run, wanted: str) -> str:
    """The model that a claim is about: the one it names, else the one that the run is about."""
    if not state.models:
        raise InputError(f"no phase of '{state.spec.name}' makes a model")
    if not wanted:
        return main_model(state)
    name = "assembled" if wanted not in state.models and "assembled" in state.models else wanted
    if name not in state.models:
        raise InputError(f"phase '{wanted}' makes no model", hint=near(wanted, state.models))
    return name


def trained(state: Run, wanted: str, seed: int) -> Trained:
    """A model of a run that is made, as checks know it. Raises what its training says where that failed."""
    task = state.models[model_name(state, wanted)][seed]
    made = model_of(state.product(task))

    def weights(when: str) -> Mapping[str, Tensor]:
        if when == START:
            return lower(made.graph, seed=seed).state_dict()
        return model_of(state.product(state.models[model_name(state, when)][seed])).weights

    turns = [path for turn in task.parameters.get("turns", ()) for path in turn["train"]]
    paths = (*task.parameters.get("trained", ()), *turns)
    return Trained(made.graph, made.weights, weights, task.parameters["data"], paths)


def failed(state: Run, tasks: Sequence[Task]) -> list[str]:
    """What went wrong with tasks, in words. Raises InputError where that is the user's input."""
    found = []
    for made in tasks:
        result = state.results[made]
        if isinstance(result, Failure):
            error: Any = state.error(result, f"{made.name} failed")
            if error.exit_code == 2:
                raise error
            found.append(error.problems[0].message)
        else:
            assert isinstance(result, Product)
    return found
