"""Train a model further that an earlier phase made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from assembler.pipeline.checking.budgets import Which
from assembler.pipeline.jobs import PARENT
from assembler.registry import phase
from assembler.train.spec import settings

if TYPE_CHECKING:
    from assembler.pipeline.state import Run


@phase(makes="model")
def tune(
    run: Run,
    *,
    of: str,
    set: dict[str, Any] | None = None,
    start: Literal["host", "copies"] = "host",
    grow: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    objective: list[dict[str, Any]] | dict[str, Any] | None = None,
    turns: list[dict[str, Any]] | None = None,
    trained: list[str] | None = None,
    data: str | dict[str, Any] | None = None,
    task: list[dict[str, Any]] | dict[str, Any] | None = None,
    metric: str | None = None,
) -> None:
    """Train the model `of` further; the result is the run's model from then on, by this phase's name.

    `turns` stand in the place of an objective, as in a phase `train`. `trained` are the steps that are trained, all by
    default; the others keep their weights. `data`, `task` and `metric` are the phase's own in the place of the run's.
    The model `of` stays as it is, so that several phases may start from one, and `merge` may bring them together. With
    `set`, be it {}, it is the run's own model with these changes that begins with the weights of `of`: another head,
    fewer layers. What `of` has not begins afresh, or where sizes differ with the nearest to it; with `start: copies`
    more copies of repeated blocks begin as copies of those of `of`, each with its share of what they add. With `grow:
    {steps: 100}`, training settings of its own, the map from the one model's weights to the other's is trained first
    (LiGO, Wang et al. 2023).
    """
    sources = run.made_before(of)
    own = None if set is None else run.model_graph(Which(set))
    graphs = {seed: own or run.graph_of(of, seed) for seed in sources}
    source_is = "host" if set is None else PARENT
    some = {name: list(value) for name, value in (("turns", turns), ("trained", trained)) if value}
    more: dict[str, Any] = {"start": start, **some}
    more |= {"grow": settings(run.spec.train, grow)} if grow is not None and own is not None else {}
    purpose = run.spec.purpose(data, task, metric)
    objectives = [turn["objective"] for turn in turns or ()] or [objective]
    made = {}
    for seed, source in sources.items():
        needs = {source_is: source}
        for said in objectives:
            needs |= run.teachers(seed, said, purpose=purpose)
        made[seed] = run.training(run.phase, graphs[seed], seed, train, objective, needs, more, purpose)
    run.becomes(made, next(iter(graphs.values())))
