"""`assembler show`: a model's graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Overrides, Recipe
from assembler.errors import InputError

Svg = Annotated[Path | None, typer.Option("--svg", metavar="FILE", dir_okay=False, help="Draw it into this file.")]


def show(recipe: Recipe, override: Overrides = None, svg: Svg = None) -> dict[str, Any]:
    """Show the graph of a model as text, or draw it. Of open choices the first candidates are laid out.

    \b
        assembler show poolformer
        assembler show quickstart --svg graph.svg
    """
    from assembler.graph.text import to_text
    from assembler.recipe.document import load
    from assembler.wiring.build import build

    document = load(recipe, override or ())
    graph = build(document.default, name=document.name)
    if svg is None:
        say.line(to_text(graph).rstrip("\n"))
    else:
        from assembler.compile.files import whole
        from assembler.report.draw import draw_graph

        if svg.suffix != ".svg":
            raise InputError(f"a drawing is written to an .svg file, not to {svg}")
        with whole(svg) as temporary:
            temporary.write_text(draw_graph(graph, standalone=True), encoding="utf-8")
        say.line(f"wrote {svg}")
    return {"recipe": document.name, "fingerprint": graph.fingerprint, "steps": len(graph), "text": to_text(graph)}
