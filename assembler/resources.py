"""Where the shipped recipes and spaces lie: in a wheel, an editable install or a bare checkout."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from assembler.errors import InputError, near

PACKAGE = Path(__file__).resolve().parent
GRAPH = "graph.txt"
CONFIG = "config.json"
OPAQUE = "opaque"
"""What the ops begin with that are Python modules of an imported model, and the plug-in file for them is called."""
MODEL_FORMAT = "assembler model"
"""What an exported model's `config.json` says first, under "format"."""
"""The file of a model in the text form of graphs: in a run's folder, in that of an imported model."""


@functools.cache
def root(kind: str) -> Path:
    """The folder of shipped files of `kind`, either "recipes" or "spaces"."""
    inside = PACKAGE / kind
    if inside.is_dir():
        return inside
    # Beside the package only in a checkout of ours: in site-packages a stranger's folder may bear the name.
    if (PACKAGE.parent / "pyproject.toml").is_file() and (PACKAGE.parent / kind).is_dir():
        return PACKAGE.parent / kind
    raise InputError(f"the shipped {kind} are missing from this installation", hint="reinstall assembler")


@functools.cache
def shipped() -> dict[str, Path]:
    """Every shipped recipe and space by its short name (`poolformer`, `quickstart`)."""
    files = [f for kind in ("recipes", "spaces") for f in sorted(root(kind).rglob("*.yaml"))]
    return {f.stem: f for f in files}


def find(name: str, *, beside: Path | None = None) -> Path:
    """The file that `name` means: a path (relative to `beside` or the working directory) or a shipped short name.

    The path is a recipe's, a graph file's, or that of a folder that holds a `graph.txt` or an exported model's
    `config.json`.

    Raises InputError where there is neither, with the nearest shipped names.
    """
    tried = [Path(name)] if beside is None else [beside / name, Path(name)]
    for path in tried:
        if (path.suffix in (".yaml", ".yml") or path.name.endswith(GRAPH)) and path.is_file():
            return path
        if (path / GRAPH).is_file():
            return path / GRAPH
        for file in (path, path / CONFIG):
            if file.name == CONFIG and file.is_file() and _is_ours(file):
                return file
    if name in shipped():
        return shipped()[name]
    folder = beside or Path()
    files = {f.name: f for f in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])[:1000]}
    if f"{name}.yaml" in files:
        what = f"cannot find recipe '{name}': no shipped recipe of that name"
        raise InputError(what, hint=f"did you mean '{name}.yaml'?")
    models = [file.parent.name for what in (GRAPH, CONFIG) for file in sorted(folder.glob(f"*/{what}"))[:1000]]
    looked = "no such file" if name.endswith((".yaml", ".yml")) or os.sep in name else "no shipped recipe of that name"
    hint = (
        near(Path(name).name, [*files, *models])
        or near(Path(name).stem, shipped())
        or "`assembler ls` lists the shipped recipes"
    )
    raise InputError(f"cannot find recipe '{name}': {looked}", hint=hint)


def _is_ours(file: Path) -> bool:
    """Whether a `config.json` is an exported model's; Hugging Face has files of that name too."""
    with file.open("rb") as stream:
        return f'"format": "{MODEL_FORMAT}"'.encode() in stream.read(100)


def data_home() -> Path | None:
    """The folder that `ASSEMBLER_DATA` names, where data files are looked for, or None."""
    value = os.environ.get("ASSEMBLER_DATA")
    return Path(value).expanduser() if value else None


def store_home() -> Path:
    """The folder of the parts store and caches (`ASSEMBLER_HOME`, default `~/.cache/assembler`)."""
    return Path(os.environ.get("ASSEMBLER_HOME") or "~/.cache/assembler").expanduser()


def cache_limit() -> int:
    """How many bytes values of frozen models may take on disk (`ASSEMBLER_CACHE`, by default 4e9; 0 keeps none).

    Raises InputError where the variable holds no number.
    """
    said = os.environ.get("ASSEMBLER_CACHE") or "4e9"
    try:
        return int(float(said))
    except (ValueError, OverflowError):
        raise InputError(f"ASSEMBLER_CACHE is a number of bytes, not '{said}'", hint="for instance 4e9") from None


def runs_home() -> Path:
    """The folder that runs are written to (`ASSEMBLER_RUNS`, default `./runs`)."""
    return Path(os.environ.get("ASSEMBLER_RUNS") or "runs").expanduser()
