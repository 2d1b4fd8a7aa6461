"""Train a model further that an earlier phase made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assembler.registry import phase

if TYPE_CHECKING:
    from assembler.pipeline.state import Run


@phase(makes="model")
def tune(
    run: Run,
    *,
    of: str,
    train: dict[str, Any] | None = None,
    objective: list[dict[str, Any]] | dict[str, Any] | None = None,
    trained: list[str] | None = None,
) -> None:
    """Train the model `of` further; the result is the run's model from then on, by this phase's name.

    `trained` are the steps that are trained, all by default; the others keep their weights. The model `of` stays as it
    is, so that several phases may start from one, and `merge` may bring them together.
    """
    graph = run.host_model(of)
    more = {"trained": list(trained)} if trained else {}
    made = {
        seed: run.training(
            run.phase, graph, seed, train, objective, {"host": source, **run.teachers(seed, objective)}, more
        )
        for seed, source in run.made_before(of).items()
    }
    run.becomes(made, graph)
