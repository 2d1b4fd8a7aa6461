"""An imported model as a folder: `graph.txt`, `model.safetensors`, `config.json`. Reading one runs no code."""

from __future__ import annotations

import json
from pathlib import Path

from assembler.compile.files import whole
from assembler.compile.weights import read_weights, save_weights
from assembler.errors import InputError
from assembler.graph.core import Graph
from assembler.graph.text import from_text, to_text
from assembler.graph.verify import verify
from assembler.importing.imported import Imported
from assembler.importing.kept import plugin, told_from
from assembler.recipe.files import load_text
from assembler.resources import OPAQUE
from assembler.wiring.written import check_code

GRAPH, WEIGHTS, CONFIG = "graph.txt", "model.safetensors", "config.json"
KEPT = f"{OPAQUE}.py"
MAX_BYTES = 64_000_000


def save(found: Imported, folder: str | Path, source: str = "") -> list[Path]:
    """Write an imported model; `source` says in `config.json` what it was made of, files as told from
    there. The files that are written, each whole or not there.

    Opaque parts that came of a source get a plug-in file, `opaque.py`, which runs that source where it is named.
    Raises InputError where the folder cannot be written.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    said = {
        "format": "assembler import",
        "source": told_from(place, source) or source,
        "name": found.graph.name,
        "fingerprint": found.fingerprint,
        "difference": found.difference,
        "opaque": list(found.opaque),
        "untrained": found.untrained,
        "free": dict(found.checked),
    }
    save_weights(found.weights, place / WEIGHTS, {"fingerprint": found.fingerprint})
    texts = {GRAPH: to_text(found.graph), CONFIG: json.dumps(said, indent=1) + "\n"}
    (place / KEPT).unlink(missing_ok=True)  # of a model that was there before
    if found.opaque and source:
        texts[KEPT] = plugin(found.graph, source, place)
    for name, text in texts.items():
        with whole(place / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [place / name for name in (GRAPH, WEIGHTS, *list(texts)[1:])]


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
    return Imported(graph, weights, float(said.get("difference", 0.0)), opaque, untrained, said.get("free", {}))


def read_graph(place: str | Path) -> Graph:
    """The graph of a folder or of a graph file, checked."""
    path = Path(place)
    file = path / GRAPH if path.is_dir() else path
    graph = from_text(load_text(file), str(file))
    check_code(graph, str(file))
    verify(graph)
    return graph
