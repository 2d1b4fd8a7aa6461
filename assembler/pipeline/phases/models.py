"""Whole models that a run starts from: the shallow meta model and the teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assembler.pipeline.checking.budgets import Which
from assembler.registry import phase

if TYPE_CHECKING:
    from assembler.pipeline.state import Run


@phase(makes="recipe")
def meta(
    run: Run,
    *,
    set: dict[str, Any] | None = None,
    blocks: int | None = None,
    train: dict[str, Any] | None = None,
) -> None:
    """Train the shallow meta model that parts are incubated in (Deep Incubation, Ni et al. 2023).

    `set` lays changes over the model recipe (`{vars.depth: 1}`), `train` over the run's training settings. With
    `blocks: 1` every slot keeps one of each of its repeated blocks, whatever the model is, imported or written.
    """
    run.add_model(run.phase, Which(set, blocks=blocks), train)


@phase(makes="recipe")
def teacher(
    run: Run,
    *,
    model: str | None = None,
    set: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    weights: str | None = None,
    data: str | dict[str, Any] | None = None,
    task: list[dict[str, Any]] | dict[str, Any] | None = None,
    metric: str | None = None,
) -> None:
    """Train the teacher, or load it: `weights` names a file, under the model's recipe paths or those its map reads.

    `model` is another recipe, or the folder of an imported model, where the teacher is not the run's model. One that
    names its own weights is taken as it is with `train: {epochs: 0}`. `data`, `task` and `metric` are the teacher's own
    in the place of the run's.
    """
    purpose = run.spec.purpose(data, task, metric)
    if weights is None:
        run.add_model(run.phase, Which(set, model), train, purpose=purpose)
    else:
        run.add_loaded(run.phase, Which(set, model), weights, purpose)


@phase("train", makes="recipe")
def train_phase(
    run: Run,
    *,
    set: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    objective: list[dict[str, Any]] | dict[str, Any] | None = None,
    turns: list[dict[str, Any]] | None = None,
    trained: list[str] | None = None,
    data: str | dict[str, Any] | None = None,
    task: list[dict[str, Any]] | dict[str, Any] | None = None,
    metric: str | None = None,
) -> None:
    """Train a model end to end, known to later phases by this phase's name.

    `objective` is a list of loss terms over named values, or {graph: steps, terms: [...]}. `turns` stand in its place
    where several sub-models are trained in turn on every batch: {train: [generator], objective: [...], every: 1, lr:
    ...}. `trained` are the steps that are trained, all by default; the others keep their weights. `data`,
    `task` and `metric` are the phase's own in the place of the run's: what the model is trained on and for, by what it
    is judged.
    """
    more = {name: list(value) for name, value in (("turns", turns), ("trained", trained)) if value}
    run.add_model(run.phase, Which(set), train, objective, more, run.spec.purpose(data, task, metric))
