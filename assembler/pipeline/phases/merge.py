"""Merge trained models of one graph into one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assembler.assemble.task import Task, task
from assembler.graph.text import to_text
from assembler.pipeline.code import code_of
from assembler.pipeline.merging import code
from assembler.registry import phase

if TYPE_CHECKING:
    from assembler.pipeline.state import Run


@phase(makes="model")
def merge(
    run: Run,
    *,
    of: list[str],
    method: str | dict[str, Any] = "linear",
    base: str | None = None,
    weights: list[Any] | None = None,
    greedy: bool = False,
) -> None:
    """Merge the models `of` weight by weight; the result is the run's model from then on, by this phase's name.

    `method` is a registered merge (`{name: ties, density: 0.3}`), `base` the model that all were tuned from. `weights`
    are one a model: a number, a list along the depth, or a mapping by pattern of path. With `greedy` models join from
    the best down, and one stays if validation gets no worse (Wortsman et al. 2022, recipe 1).
    """
    graph, made = run.host_model(of[0]), dict[int, Task]()
    how = {"method": method, "weights": weights, "greedy": greedy}
    for seed in run.made_before(of[0]):
        needs = {f"model:{n}": run.made_before(name)[seed] for n, name in enumerate(of)}
        needs |= {"model:base": run.made_before(base)[seed]} if base else {}
        common = run.common(seed, None, None)
        made[seed] = task(
            "assembler.pipeline.merging:merge_models",
            {"graph": to_text(graph), **how, **common},
            {**needs, **run.teachers(seed, None)},
            label=run.say(run.phase, seed),
            phase=run.phase,
            code=[*code_of(graph, common["objective"], common["train"]), *code(method)],
        )
    run.becomes(made, graph)
