"""Take slots of a model from other models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assembler.assemble.spliced import splice as spliced
from assembler.assemble.task import Task, task
from assembler.graph.text import to_text
from assembler.pipeline.code import code_of
from assembler.pipeline.splicing import code
from assembler.registry import phase

if TYPE_CHECKING:
    from assembler.pipeline.state import Run


@phase(makes="model")
def splice(run: Run, *, of: str, take: dict[str, str]) -> None:
    """Put slots of other models into the model `of`; the result is the run's model from then on, by this phase's name.

    `take: {stage.1: other}` names for each slot, a step, container or run of steps that both have, the model it is
    taken from. Nothing is trained: where features differ the slot stands between stitch layers, fitted by least squares
    (SN-Net, DeRy). `tune` trains the result further.
    """
    for name in take.values():
        run.made_before(name)
    graph, made = spliced(run.host_model(of), {s: run.graphs[m] for s, m in take.items()}), dict[int, Task]()
    for seed, host in run.made_before(of).items():
        needs = {"model:host": host, **{f"slot:{n}": run.models[m][seed] for n, m in enumerate(take.values())}}
        common = run.common(seed, None, None)
        made[seed] = task(
            "assembler.pipeline.splicing:splice_models",
            {"graph": to_text(graph), "slots": list(take), **common},
            {**needs, **run.teachers(seed, None)},
            label=run.say(run.phase, seed),
            phase=run.phase,
            code=[*code_of(graph, common["objective"], common["train"]), *code()],
        )
    run.becomes(made, graph)
