"""`assembler rewrite`: a model's graph after rewrites, and what that costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Out, Overrides, Recipe, Weights
from assembler.cli.values import mapping
from assembler.errors import InputError

if TYPE_CHECKING:
    from assembler.graph.core import Graph
    from assembler.infer.cost import Cost
    from assembler.rewrites.spec import Order

What = Annotated[
    list[str], typer.Argument(metavar="REWRITE...", help="NAME or NAME:OPTION=VALUE,..., applied in order.")
]
At = Annotated[
    str, typer.Option("--at", metavar="PATH", help="Where: a step, a container, or a pattern with *; all if not given.")
]


def rewrite(
    recipe: Recipe, what: What, at: At = "*", override: Overrides = None, weights: Weights = None, out: Out = None
) -> dict[str, Any]:
    """Rewrite a model: fold, fuse, factorise, grow, prune.

    Shows what changes in the graph and in its costs; `assembler ls rewrites` lists what there is. `at=PATH` among a
    rewrite's options goes over --at. --out writes graph.txt and, of a model with weights (--weights, or its own), the
    rewritten model's model.safetensors.

    \b
        assembler rewrite my/model.yaml fold_batch_norm --weights model.safetensors --out folded/
        assembler rewrite poolformer low_rank:ratio=0.5 --at 'stage.*.block'
    """
    from assembler.rewrites.spec import orders

    wanted = orders([_read(text) for text in what], at)
    from assembler.graph.diff import diff
    from assembler.infer.cost import total
    from assembler.pipeline.api import build
    from assembler.pipeline.sources import graph as graph_of
    from assembler.recipe.document import load
    from assembler.rewrites.drive import rewritten

    document = load(recipe, override or ())
    named = document.model.get("weights")
    has_weights = weights is not None or (named is not None and "file" in named)
    state = build(document, weights=weights).state_dict() if has_weights else None
    before = graph_of(document)
    _check(wanted, has_weights)
    after = before
    idle: list[Order] = []
    for one in wanted:
        last, (after, state) = after, rewritten(after, one.rewrite, state, one.at)
        idle += [one] if after == last else []
    wanted = tuple(one for one in wanted if one not in idle)
    costs = total(before), total(after)
    say.line(str(diff(before, after)))
    for one in idle:
        say.line(f"{one.rewrite.name} has no site here; it applies to {one.rewrite.where}")
    _tell(wanted, *costs)
    files = _write(out, after, state) if out else []
    told = {"recipe": document.name, "keeps_function": _keeps(wanted), "fingerprint": after.fingerprint}
    told |= {"added": len(diff(before, after).added), "removed": len(diff(before, after).removed)}
    return {**told, "before": _data(costs[0]), "after": _data(costs[1]), "files": files}


def _read(text: str) -> dict[str, Any]:
    """`low_rank:rank=8,at=head` as a mapping; values are YAML."""
    name, _, options = text.partition(":")
    pairs = [pair.partition("=") for pair in re.split(r",(?=\s*\w+=)", options) if pair.strip()]
    if not all(key.strip() and sign for key, sign, _ in pairs):
        raise InputError(f"'{text}' is no rewrite with options", hint="for instance low_rank:rank=8,at=head")
    given = ", ".join(f"{key.strip()}: {value}" for key, _, value in pairs)
    return {"rewrite": name.strip(), **mapping(f"{{{given}}}", "a rewrite")}


def _check(wanted: Sequence[Order], has_weights: bool) -> None:
    for one in wanted:
        if one.rewrite.needs_weights and not has_weights:
            raise InputError(f"{one.rewrite.name} goes by the weights here", hint="give --weights FILE")


def _keeps(wanted: Sequence[Order]) -> bool:
    return all(one.rewrite.keeps_function for one in wanted)


def _tell(wanted: Sequence[Order], before: Cost, after: Cost) -> None:
    table = say.table("", "before", "after", "change")
    for name in ("params", "flops"):
        old, new = getattr(before, name), getattr(after, name)
        change = f"{100 * (new - old) / old:+.1f} %" if old else "-"
        say.row(table, "FLOPs" if name == "flops" else name, f"{old:,}", f"{new:,}", change)
    say.show(table)
    others = [one.rewrite.name for one in wanted if not one.rewrite.keeps_function]
    say.line(f"the function {'changes: ' + ', '.join(others) if others else 'stays the same in evaluation'}")


def _write(out: Any, graph: Graph, state: Any) -> list[str]:
    from assembler.compile.weights import save_weights
    from assembler.graph.text import to_text
    from assembler.pipeline.exporting import write_text

    out.mkdir(parents=True, exist_ok=True)
    files = [out / "graph.txt"]
    write_text(files[0], to_text(graph))
    if state is not None:
        files.append(out / "model.safetensors")
        save_weights(state, files[1])
    for file in files:
        say.line(f"wrote {file}")
    return [str(file) for file in files]


def _data(cost: Cost) -> dict[str, int]:
    return {"params": cost.params, "flops": cost.flops}
