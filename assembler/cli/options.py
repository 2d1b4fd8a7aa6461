"""The arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file or a shipped name (poolformer@s24).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--override",
        metavar="PATH=VALUE",
        help="Change the recipe, e.g. vars.dim=96; a mapping is merged into one that is there. Repeatable.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Worker processes; by default one a core, 8 at most."),
]
Study = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="The study in the storage; the recipe's name if not given."),
]
Search = Annotated[str, typer.Argument(metavar="URL", help="The storage of the search, or the folder of its run.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Engine = Annotated[str, typer.Option("--engine", help="processes, or ray: workers on a cluster.")]
Address = Annotated[str | None, typer.Option("--address", help="The Ray cluster; auto: this machine's.")]
Gpus = Annotated[float, typer.Option("--gpus", min=0.0, help="GPUs of a Ray worker, perhaps a share.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of initial weights and batches.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder to write to.")]
Weights = Annotated[
    str | None,
    typer.Option(
        "-w",
        "--weights",
        metavar="PLACE",
        help="Weights to load: a file, a checkpoint's folder, or hf:org/name; under the recipe's paths or its map.",
    ),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="Python file with ops and other things of yours. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="End stdout with one line that holds a JSON object.")]
