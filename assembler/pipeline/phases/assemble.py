"""Put the winner of the search together and tune it as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from assembler.assemble.task import Task
from assembler.errors import InputError
from assembler.graph.core import Graph
from assembler.pipeline.state import ASSEMBLED as NAME
from assembler.registry import phase

if TYPE_CHECKING:
    from assembler.pipeline.state import Run


@phase(makes="assembly")
def assemble(
    run: Run, *, objective: list[dict[str, Any]] | dict[str, Any] | None = None, train: dict[str, Any] | None = None
) -> None:
    """Assemble each seed's winner from its trained parts and tune all of it; one that a search trained goes on.

    The objective is the task's loss unless the recipe gives terms, for instance with
    `{loss: kl, value: logits, target: teacher.logits}` to distil from the teacher.
    """
    if not run.searches:
        raise InputError(f"phase '{run.phase}' needs a winner, and no phase before it searches")
    run.tuning = (objective, train)
    run.models[NAME] = {}
    for seed in run.seeds:
        choice = run.product(run.searches[seed]).result["choice"]
        graph, made = _trained(run, seed) if seed in run.winners else assembly(run, NAME, seed, choice)
        run.models[NAME][seed] = made
        run.assembled[seed] = graph
    run.make(run.models[NAME].values())


def _trained(run: Run, seed: int) -> tuple[Graph, Task]:
    """The graph of a winner that was trained as a whole, and the task that tunes it."""
    objective, train = run.tuning
    graph, weights = run.winners[seed]
    return graph, run.training(NAME, graph, seed, train, objective, {**weights, **run.teachers(seed, objective)})


def assembly(run: Run, label: str, seed: int, choice: Mapping[str, int]) -> tuple[Graph, Task]:
    """The graph of an assembly and the task that puts it together and tunes it; `choice` indexes the search's slots."""
    objective, train = run.tuning
    slots = run.searches[seed].parameters["slots"]
    graph, needs = run.assembly(seed, {slot: slots[slot][pick]["variant"] for slot, pick in choice.items()})
    return graph, run.training(label, graph, seed, train, objective, needs | run.teachers(seed, objective))
