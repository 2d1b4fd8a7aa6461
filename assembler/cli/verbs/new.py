"""`assembler new`: recipes to begin with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from assembler.cli import say
from assembler.errors import InputError

Name = Annotated[Path, typer.Argument(metavar="NAME", help="The model's name, perhaps in a folder: my/net.")]


def new(name: Name) -> dict[str, Any]:
    """Write the recipe of a small model, NAME.yaml, and of a run that trains it on the digits, NAME_run.yaml.

    Both can be run at once, and say in comments how to change them. Files that are there stay as they are.

    \b
        assembler new net
        assembler run net_run.yaml
    """
    from assembler.compile.files import whole
    from assembler.recipe.starter import MODEL, RUN

    stem = name.name.removesuffix(".yaml")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", stem):
        raise InputError(f"'{stem}' cannot be a model's name", hint="use letters, digits and _")
    files = {name.with_name(f"{stem}.yaml"): MODEL, name.with_name(f"{stem}_run.yaml"): RUN}
    for file in files:
        if file.exists():
            raise InputError(f"{file} is there already", hint="give another name")
    for file, text in files.items():
        with whole(file) as temporary:
            temporary.write_text(text.format(name=stem), encoding="utf-8")
        say.line(f"wrote {file}")
    say.line(f"next    assembler run {name.with_name(f'{stem}_run.yaml')}")
    return {"files": [str(file) for file in files]}
