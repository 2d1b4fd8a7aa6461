"""An imported model as a folder: `graph.txt`, `model.safetensors`, `config.json`. Reading one runs no code."""

from __future__ import annotations

import json
from pathlib import Path

from assembler.compile.files import whole
from assembler.compile.weights import read_weights, save_weights
from assembler.errors import GraphError, InputError, Problem
from assembler.graph.core import Graph
from assembler.graph.text import from_text, to_text
from assembler.graph.verify import verify
from assembler.importing.imported import Imported
from assembler.importing.opaque import PREFIX
from assembler.recipe.files import load_text
from assembler.registry.live import LIVE

GRAPH, WEIGHTS, CONFIG = "graph.txt", "model.safetensors", "config.json"
MAX_BYTES = 64_000_000


def save(found: Imported, folder: str | Path, source: str = "") -> list[Path]:
    """Write an imported model; `source` says in `config.json` what it was made of. The files, each whole or not there.

    Raises InputError where the folder cannot be written.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    said = {
        "format": "assembler import",
        "source": source,
        "name": found.graph.name,
        "fingerprint": found.fingerprint,
        "difference": found.difference,
        "opaque": list(found.opaque),
        "untrained": found.untrained,
    }
    save_weights(found.weights, place / WEIGHTS, {"fingerprint": found.fingerprint})
    for name, text in ((GRAPH, to_text(found.graph)), (CONFIG, json.dumps(said, indent=1) + "\n")):
        with whole(place / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [place / name for name in (GRAPH, WEIGHTS, CONFIG)]


def read(folder: str | Path) -> Imported:
    """The model that `save` wrote.

    Raises InputError where a file is missing, GraphError for what is wrong with the graph and for opaque parts whose
    Python this process does not have.
    """
    place = Path(folder)
    graph = read_graph(place)
    said = {}
    if (place / CONFIG).is_file():
        try:
            said = json.loads(load_text(place / CONFIG))
        except ValueError as error:
            raise InputError(f"{place / CONFIG} is no JSON") from error
    weights = read_weights(place / WEIGHTS)
    opaque, untrained = tuple(said.get("opaque", ())), str(said.get("untrained", ""))
    return Imported(graph, weights, float(said.get("difference", 0.0)), opaque, untrained)


def read_graph(place: str | Path) -> Graph:
    """The graph of a folder or of a graph file, checked."""
    path = Path(place)
    file = path / GRAPH if path.is_dir() else path
    graph = from_text(load_text(file), str(file))
    gone = [(i, node) for i, node in graph if node.op.startswith(PREFIX) and ("op", node.op) not in LIVE]
    if gone:
        raise GraphError([_without_code(i, node.op) for i, node in gone])
    verify(graph)
    return graph


def _without_code(i: str, op: str) -> Problem:
    kind = op.removeprefix(PREFIX).rpartition("_")[0]
    hint = f"import the model again in this process, or bring {kind} as a class under @op, with --plugin FILE, first"
    return Problem(f"step '{i}' is the Python module {kind}, whose code is not here", path=i, hint=hint)
