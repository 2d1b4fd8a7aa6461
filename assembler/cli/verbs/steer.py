"""`assembler steer`: tell a search that is running, here or elsewhere, what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Search, Study
from assembler.cli.values import mapping, pairs
from assembler.errors import InputError


def steer(
    where: Search,
    study: Study = None,
    enqueue: Annotated[
        list[str] | None,
        typer.Option(
            "--enqueue",
            metavar="CHOICE|RECIPE",
            help="Try {mix: pool} next, the rest is drawn; or the model of a recipe.",
        ),
    ] = None,
    ban: Annotated[
        list[str] | None, typer.Option("--ban", metavar="NAME=LABEL,...", help="Refuse what is so chosen.")
    ] = None,
    allow: Annotated[list[str] | None, typer.Option("--allow", metavar="NAME=LABEL,...", help="Lift a ban.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Go on up to so many trials.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Begin nothing more; what is under way ends.")] = False,
) -> dict[str, Any]:
    """Tell a running search what to do, from any terminal or machine that reaches its storage.

    \b
        assembler steer journal:///study.log --enqueue '{block.mixer: pool}' --trials 200
        assembler steer my_space --enqueue my/model.yaml
        assembler steer runs/my_space/latest --ban block.mixer=attention
        assembler steer postgresql://me@host/db --study my_space --stop
    """
    from assembler.search.command import Command, give
    from assembler.search.storage import load_study, storage_url

    if not (enqueue or ban or allow or trials or stop):
        raise InputError("nothing is to be done", hint="give --enqueue, --ban, --allow, --trials or --stop")
    command = Command(
        tuple(_wanted(where, study, text) for text in enqueue or ()),
        tuple(pairs(text, "--ban") for text in ban or ()),
        tuple(pairs(text, "--allow") for text in allow or ()),
        trials,
        stop,
    )
    done = give(load_study(storage_url(where), study), command)
    for line in done:
        say.line(line)
    return {"done": done}


def _wanted(where: str, study: str | None, text: str) -> dict[str, Any]:
    """The choice that is given by label, or that makes the model of a recipe."""
    from assembler.pipeline.search.trials import searched
    from assembler.recipe.document import load

    if text.lstrip().startswith("{"):
        wanted = mapping(text, "--enqueue")
        searched(where, study).allow(wanted)
        return wanted
    if (": " in text or "=" in text) and not Path(text).exists():
        raise InputError(f"'{text}' is no recipe", hint=f"give decisions in braces: '{{{text.replace('=', ': ')}}}'")
    return searched(where, study).words(load(text))
