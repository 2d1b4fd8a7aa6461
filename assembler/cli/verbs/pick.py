"""`assembler pick`: the best trial within a budget, as an ordinary recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Search, Study
from assembler.cli.values import numbers

Params = Annotated[float | None, typer.Option("--params", min=0, help="At most so many parameters.")]
Flops = Annotated[float | None, typer.Option("--flops", min=0, help="At most so many FLOPs for one sample.")]
Budget = Annotated[
    list[str] | None,
    typer.Option("--budget", metavar="NAME=LIMIT", help="Bound another recorded cost, or an objective. Repeatable."),
]
File = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", dir_okay=False, help="Where to write; STUDY_TRIAL.yaml here.")
]


def pick(
    where: Search,
    study: Study = None,
    params: Params = None,
    flops: Flops = None,
    budget: Budget = None,
    out: File = None,
) -> dict[str, Any]:
    """Write the recipe of the best complete trial within a budget: best in the first objective.

    The recipe is an ordinary one, without choices, which `plan`, `train` and `run` take.

    \b
        assembler pick runs/my_space/20260101-120000-abcdef --params 1e6
        assembler pick journal:///study.log --flops 5e6 --budget latency=2.5 --out small.yaml
    """
    from assembler.compile.files import whole
    from assembler.pipeline.search.trials import recipe_of, searched
    from assembler.report.numbers import figure

    most = {"params": params, "flops": flops, **numbers(budget or (), "--budget")}
    found = searched(where, study)
    trial = found.pick({name: limit for name, limit in most.items() if limit is not None})
    recipe_of(trial)
    file = out or Path(f"{found.status.name}_{trial.number}.yaml")
    with whole(file) as temporary:
        temporary.write_text(trial.recipe, encoding="utf-8")
    values, costs = found.values(trial), trial.costs
    said = [f"{n} {figure(n, v)}" for n, v in values.items() if n not in costs]
    said += [f"{n} {figure(n, v)}" for n, v in costs.items()]
    say.line(f"trial {trial.number}: {', '.join(said)}")
    say.line(f"wrote {file}")
    return {"trial": trial.number, "choice": trial.labels, "values": values, "costs": costs, "file": str(file)}
