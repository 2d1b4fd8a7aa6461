"""Take slots of a model from other models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from assembler.assemble.product import Product
from assembler.assemble.similar import Line, nearest
from assembler.assemble.spliced import splice as spliced
from assembler.assemble.task import Task, task
from assembler.graph.text import to_text
from assembler.pipeline.checking.rewrites import candidates, taken_from
from assembler.pipeline.code import code_of
from assembler.pipeline.splicing import code, code_of_comparing
from assembler.registry import phase

if TYPE_CHECKING:
    from assembler.pipeline.state import Run


@phase(makes="model")
def splice(run: Run, *, of: str, take: dict[str, str | dict[str, str | list[str]]]) -> None:
    """Put slots of other models into the model `of`; the result is the run's model from then on, by this phase's name.

    `take: {stage.1: other}` names for each slot, a step, container or run of steps, the model it is taken from, and
    `other.stage.2` the place there, where that is another. `{nearest: [other, third]}` takes the steps of these models
    that are most like the slot, by linear CKA of what enters and of what leaves, the mean over seeds (DeRy); the run
    tells which. Nothing is trained: where features differ the slot stands between stitch layers, fitted by least
    squares (SN-Net, DeRy). `tune` trains the result further.
    """
    chosen = {slot: said if isinstance(said, str) else _nearest(run, of, slot, said) for slot, said in take.items()}
    places = {slot: taken_from(said, slot) for slot, said in chosen.items()}
    for name, _ in places.values():
        run.made_before(name)
    parts = {slot: (run.graphs[name], path) for slot, (name, path) in places.items()}
    graph, made = spliced(run.host_model(of), parts), dict[int, Task]()
    for seed, host in run.made_before(of).items():
        theirs = {f"slot:{n}": run.models[name][seed] for n, (name, _) in enumerate(places.values())}
        needs = {"model:host": host, **theirs}
        common = run.common(seed, None, None)
        made[seed] = task(
            "assembler.pipeline.splicing:splice_models",
            {"graph": to_text(graph), "take": [[slot, *place] for slot, place in places.items()], **common},
            {**needs, **run.teachers(seed, None)},
            label=run.say(run.phase, seed),
            phase=run.phase,
            code=[*code_of(graph, common["objective"], common["train"]), *code()],
        )
    run.becomes(made, graph)


def _nearest(run: Run, of: str, slot: str, said: Mapping[str, Any]) -> str:
    """What `nearest` comes to: `other.stage.2`, the same for all seeds."""
    names = candidates(said)
    made: dict[str, list[Task]] = {name: [] for name in names}
    for name in names:
        for seed, theirs in run.made_before(name).items():
            common = run.common(seed, None, None)
            made[name].append(
                task(
                    "assembler.pipeline.splicing:compare_models",
                    {"slot": slot, "data": common["data"], "data_id": common["data_id"]},
                    {"model:host": run.made_before(of)[seed], "model:other": theirs},
                    label=run.say(f"{slot} and {name}", seed),
                    phase=run.phase,
                    code=code_of_comparing(),
                )
            )
    run.make(t for some in made.values() for t in some)
    alike = {name: _mean([run.product(t) for t in some]) for name, some in made.items()}
    return nearest(run.host_model(of), slot, {name: Line.of(run.graphs[name]) for name in names}, alike).path


def _mean(products: list[Product]) -> list[list[float]]:
    """The mean of the similarities that several seeds found."""
    tables = [p.result["alike"] for p in products]
    return [[sum(one) / len(tables) for one in zip(*rows, strict=True)] for rows in zip(*tables, strict=True)]
