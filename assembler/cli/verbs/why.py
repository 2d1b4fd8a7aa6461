"""`assembler why`: where a trial of a search came from, or what a part of the store was made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Study
from assembler.report import part

if TYPE_CHECKING:
    from assembler.pipeline.search.trials import Searched
    from assembler.search.lineage import Link
    from assembler.search.trial import Trial

_GONE = {"label": "no longer in the store"}
Where = Annotated[
    str, typer.Argument(metavar="URL|PART", help="The storage of a search, the folder of its run, or a part's key.")
]
Which = Annotated[str | None, typer.Argument(metavar="[TRIAL]", help="A trial's number, or best.", show_default=False)]


def why(where: Where, trial: Which = None, study: Study = None) -> dict[str, Any]:
    """Tell the chain of edits that leads to a trial from the recipe with all first candidates, and what each gave.

    Parents are those that the sampler says (evolution, local search, moves), else the trial whose weights one
    inherited; a trial that was drawn follows that recipe at once. Of what a model of the trials before proposed, it
    tells from how many, and what it has otherwise than the best of them. Of a part in the parts store it tells all that
    it was made of.

    \b
        assembler why runs/my_space/20260101-120000-abcdef best
        assembler why postgresql://me@host/db 12 --study my_space
        assembler why 3fa9
    """
    if trial is None:
        return _part(where)
    from assembler.pipeline.search.trials import searched

    found = searched(where, study)
    asked = found.trial(trial)
    chain = found.chain(asked)
    _tell(found, asked, chain)
    return {
        "study": found.status.name,
        "trial": asked.number,
        "state": asked.state,
        "reason": asked.reason,
        "chain": [_link(found, link) for link in chain],
    }


def _tell(found: Searched, asked: Trial, chain: tuple[Link, ...]) -> None:
    from assembler.report.numbers import figure

    reason = f": {asked.reason}" if asked.reason else ""
    say.line(f"trial {asked.number} of {found.status.name} is {asked.state}{reason}")
    goals = found.status.objectives
    costs = [n for n in dict.fromkeys(name for link in chain for name in link.trial.costs) if n not in goals]
    table = say.table("trial", "edit", *goals, *costs, left=2)
    known = [figure(name, found.seed_costs[name]) if name in found.seed_costs else "" for name in goals]
    start = [figure(name, found.seed_costs.get(name)) for name in costs]
    say.row(table, "seed", "all first candidates", *known, *start)
    for link in chain:
        values = list(map(figure, goals, link.trial.values or ())) or [link.trial.state] * len(goals)
        words = "\n".join(map(str, link.edits)) or "nothing"
        say.row(table, link.trial.number, words, *values, *(figure(name, link.trial.costs.get(name)) for name in costs))
    say.show(table)
    for link in chain:
        for note in link.notes:
            say.line(f"trial {link.trial.number}: {note}")


def _link(found: Searched, link: Link) -> dict[str, Any]:
    one, told = link.trial, {"values": found.values(link.trial), "costs": link.trial.costs, "notes": list(link.notes)}
    edits = [{"decision": e.name, "before": e.before, "after": e.after} for e in link.edits]
    return {"trial": one.number, "state": one.state, "edits": edits, **told}


def _part(key: str) -> dict[str, Any]:
    """Show the product that a key begins and, below it, what it was made of."""
    from assembler import resources
    from assembler.assemble.store import Store

    store = Store(resources.store_home())
    asked = store.find(key)
    chain = []
    for depth, name, found in store.ancestry(asked):
        made = store.get(found)
        link = {"key": found, "depth": depth, "name": name, **(part.origin(made.card) if made else _GONE)}
        chain.append(link)
    heads = ("part", "is its", "what", "run", "data", "seed", "objective", "scores")
    say.columns(heads, [_row(link) for link in chain], left=len(heads))
    return {"part": asked.key, "chain": chain}


def _row(link: Mapping[str, Any]) -> tuple[str, ...]:
    scores = ", ".join(f"{name} {value:.4f}" for name, value in link.get("scores", {}).items())
    told = (str(link.get(name, "")) for name in ("label", "recipe", "data", "seed", "objective"))
    return ("  " * link["depth"] + link["key"][:8], link["name"], *told, scores)
