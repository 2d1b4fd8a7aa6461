"""`assembler diff`: what one model has otherwise than another."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Study

A = Annotated[str, typer.Argument(metavar="A", help="A recipe, or a trial: URL#NUMBER or URL#best.")]
B = Annotated[str, typer.Argument(metavar="B", help="Likewise; what is told leads from A to B.")]


def diff(a: A, b: B, study: Study = None) -> dict[str, Any]:
    """Show the edits that lead from one model's graph to another's, with parameters, FLOPs and, of trials, scores.

    A trial is named by the storage of its search, or the folder of its run, and its number.

    \b
        assembler diff poolformer@s12 poolformer@s24
        assembler diff digits_metaformer 'runs/my_space/20260101-120000-abcdef#best'
        assembler diff 'journal:///study.log#3' 'journal:///study.log#12'
    """
    from assembler.pipeline.search.trials import compared, named
    from assembler.report.numbers import COUNTED, count, result

    one, other = named(a, study), named(b, study)
    found, numbers = compared(one, other)
    say.line(str(found))
    table = say.table("", one.name, other.name, "difference")
    for name, (before, after) in numbers.items():
        form = result if (name in one.values or name in other.values) and name not in COUNTED else count
        gap = "" if before is None or after is None else f"{'+' if after >= before else ''}{form(after - before)}"
        say.row(table, name, form(before), form(after), gap)
    say.show(table)
    return {
        "a": one.name,
        "b": other.name,
        **{kind: [list(change) for change in getattr(found, kind)] for kind in ("added", "removed", "changed")},
        "numbers": {name: {"a": pair[0], "b": pair[1]} for name, pair in numbers.items()},
    }
