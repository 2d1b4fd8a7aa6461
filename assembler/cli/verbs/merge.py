"""`assembler merge`: one model from several with the same graph, weight by weight."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Out, Seed
from assembler.cli.values import mapping

Models = Annotated[
    list[str], typer.Argument(metavar="MODEL...", help="Folders with a model, runs, or recipes that name weights.")
]
Method = Annotated[
    str, typer.Option(metavar="METHOD", help="Its name, or {name: ties, density: 0.3}; `assembler ls merges`.")
]
Base = Annotated[str | None, typer.Option(metavar="MODEL", help="The model that all were tuned from.")]
Shares = Annotated[
    list[str] | None,
    typer.Option("--weight", metavar="NUMBER", help="One for each model, in order: 0.5, '[0, 1]', '{\"*.attn\": 0}'."),
]


def merge(
    models: Models,
    method: Method = "linear",
    base: Base = None,
    weight: Shares = None,
    seed: Seed = 0,
    out: Out = None,
) -> dict[str, Any]:
    """Merge models with the same graph into one of their size.

    Methods are the weighted mean, the arc between two (slerp), and sums of what was learnt since a common base
    (task_arithmetic, ties, dare). A weight, and a method's numbers, may be a list, which goes from the first step with
    weights to the last, or a mapping by pattern of path. --out writes the model as `export` does.

    \b
        assembler merge runs/a/latest runs/b/latest --out merged/
        assembler merge a/ b/ --method '{name: slerp, t: [0, 0.5, 1]}' --out merged/
        assembler merge a/ b/ --base start/ --method '{name: ties, density: 0.3}' --weight 1 --weight 0.5 --out merged/
    """
    from assembler.pipeline.exporting import export
    from assembler.pipeline.merging import merge as merged

    how = mapping(method, "--method", name="name")
    shares = [mapping(f"{{weight: {text}}}", "--weight")["weight"] for text in weight] if weight else None
    module = merged(models, how, base=base, weights=shares, seed=seed)
    graph = module.meta["graph"]
    params = sum(p.numel() for p in module.parameters())
    say.line(f"{graph.name}: {len(models)} models merged by {how['name']}, {params:,} parameters")
    files = export(module.eval(), out, ("safetensors",)) if out else []
    for file in files:
        say.line(f"wrote {file}")
    return {"model": graph.name, "method": how["name"], "params": params, "files": [str(file) for file in files]}
