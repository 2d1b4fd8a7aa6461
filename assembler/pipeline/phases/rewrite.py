"""Rewrite a trained model: fold, fuse, factorise, grow, prune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assembler.assemble.task import Task, task
from assembler.graph.core import Graph
from assembler.graph.text import to_text
from assembler.pipeline.code import code_of
from assembler.pipeline.jobs import model_of
from assembler.pipeline.rewriting import all_applied, code
from assembler.registry import phase
from assembler.rewrites.spec import orders
from assembler.train.data.core import load

if TYPE_CHECKING:
    from assembler.pipeline.state import Run


@phase(makes="model")
def rewrite(
    run: Run,
    *,
    of: str,
    apply: list[str | dict[str, Any]],
    train: dict[str, Any] | None = None,
    objective: list[dict[str, Any]] | dict[str, Any] | None = None,
    trained: list[str] | None = None,
) -> None:
    """Apply rewrites to the model `of` in order; the result is the run's model from then on, by this phase's name.

    `[fold_batch_norm, {rewrite: low_rank, at: head, rank: 8}]`; `of: assembled` is the model of the assemble phase.
    Weights are carried over. With `train` or an `objective` the rewritten model is trained further, with `trained`
    these steps of it alone.
    """
    made: dict[int, Task] = {}
    graphs: list[Graph] = []
    for seed, source in run.made_before(of).items():
        graph = _graph(run, of, seed, source, apply)
        made[seed] = _rewriting(run, seed, source, graph, apply)
        if train is not None or objective is not None:
            needs = {"host": made[seed], **run.teachers(seed, objective)}
            more = {"trained": list(trained)} if trained else {}
            made[seed] = run.training(run.phase, graph, seed, train, objective, needs, more)
        graphs.append(graph)
    run.becomes(made, graphs[0])


def _graph(run: Run, of: str, seed: int, source: Task, apply: list[str | dict[str, Any]]) -> Graph:
    """The rewritten graph; weights are read where a rewrite goes by them."""
    wanted = orders(apply)
    before = run.graph_of(of, seed)
    if not any(one.rewrite.needs_model for one in wanted):
        return all_applied(before, wanted)[0]
    return all_applied(before, wanted, model_of(run.product(source)).weights, load(run.spec.data).train)[0]


def _rewriting(run: Run, seed: int, source: Task, graph: Graph, apply: list[str | dict[str, Any]]) -> Task:
    common = run.common(seed, None, None)
    return task(
        "assembler.pipeline.rewriting:rewrite_model",
        {"graph": to_text(graph), "apply": list(apply), **common},
        {"model": source, **run.teachers(seed, None)},
        label=run.say(run.phase, seed),
        phase=run.phase,
        code=[*code_of(graph, common["objective"], common["train"]), *code(apply)],
    )
