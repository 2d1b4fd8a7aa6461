"""Search the choices of a run: assemblies of trained parts without training any, or candidates that are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from assembler.pipeline.checking.budgets import limits
from assembler.pipeline.checking.search import USUAL
from assembler.pipeline.search.costs import latencies
from assembler.pipeline.search.found import searched
from assembler.pipeline.search.settings import Settings
from assembler.registry import phase
from assembler.train.spec import settings

if TYPE_CHECKING:
    from assembler.pipeline.state import Run


@phase
def search(
    run: Run,
    *,
    mode: Literal["parts", "trials", "inherit", "supernet"] = "parts",
    sampler: str | dict[str, Any] | None = None,
    trials: int = 64,
    budget: dict[str, float | str] | None = None,
    objectives: dict[str, str] | None = None,
    screen: dict[str, Any] | None = None,
    prune: str | dict[str, Any] | None = None,
    supernet: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
) -> None:
    """Choose one part a slot: assemblies are put together and validated, the best within the budget wins.

    `sampler` is `exact` (parts' scores added up and solved, then the best few validated), `random`, `evolution`,
    `tpe` or another. `budget` bounds `params` and `flops` of the whole model, `memory` (bytes of all values of a
    sample) and `latency` (milliseconds on this machine, measured step by step), by numbers or expressions over the
    models made so far (`=0.35 * teacher`); what breaks the space's `where:` is refused. Other modes train candidates of
    the whole model, as `train` says, and need no parts: `trials` each from the start, `inherit` each from its parent's
    weights, `supernet` all with shared ones; there `depth` and `steps` are costs, too. `screen`, `prune`, `supernet`
    and `objectives` are those of a space's `search:`.
    """
    with latencies(run.runner.store.root) as steps:
        most = limits(budget or {}, run.graphs, steps)
    how = Settings(
        data=dict(run.spec.data),
        sampler=sampler or USUAL.get(mode, "tpe"),
        trials=trials,
        budget=most,
        train=settings(run.spec.train, train or {}),
        objectives=objectives or ({"loss": "minimize"} if mode == "parts" else None),
        mode=mode,
        screen=screen,
        prune=prune,
        supernet=supernet,
    )
    run.searches = {}
    for seed in run.seeds:
        run.searches[seed] = searched(run, seed, how)
    run.make(run.searches.values())
    for made in run.searches.values():
        run.product(made)  # raises with the reason where there is none
