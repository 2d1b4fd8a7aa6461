"""The whole file: what it says of itself, the ops' sources, the classes, and what loads the weights."""

from __future__ import annotations

import re
from collections.abc import Mapping

from assembler.compile.embed import Embedding
from assembler.compile.lower import check_names
from assembler.compile.source.classes import Class, Classes
from assembler.compile.source.element import lines_of
from assembler.compile.source.forms import Forms
from assembler.compile.source.module import ClassText
from assembler.compile.source.names import Shapes
from assembler.compile.source.place import Place, place_of
from assembler.compile.source.units import Units
from assembler.compile.template import BODY, HEADER, LOADER, STEPS
from assembler.graph.core import Graph, TensorType
from assembler.infer.cost import total
from assembler.infer.shape import shapes

_TAKEN = {"Model", "Steps", "Body", "Tensor", "TensorType", "Any", "F", "nn", "torch", "json", "struct", "sys", "Path"}
_TAKEN |= {"DTYPES", "load", "self", "float", "range", "slice"}
_GIVEN = (
    "from torch import Tensor",
    "from torch import nn",
    "import torch.nn as nn",
    "import torch.nn.functional as F",
)


def to_source(graph: Graph, types: Mapping[str, TensorType] | None = None) -> str:
    """The text of a stand-alone `model.py`: `class Model` and `load(file)`, which reads a safetensors file by itself.

    `state_dict` keys are recipe paths, and lines of `forward` bear the shapes that they make. Containers that are alike
    are one class, copies that follow each other are called in a loop. The sources of the ops are copied in with what
    they use. Raises GraphError where an op's source is not known or cannot stand alone.
    """
    types = types or shapes(graph)
    check_names(graph)
    place = place_of(graph, types)
    embedding = Embedding(_TAKEN)
    forms = Forms(embedding)
    units = Units(forms)
    model = Class("Model", [units.whole(place)])  # with it all sources are collected
    model.exports = model.unit.exports
    classes = Classes(units, {*_TAKEN, *embedding.names})
    classes.choose(place)
    classes.split(lambda unit: list(lines_of(classes, unit.place, unit.ids, unit.path)), model.unit)
    batch = next((t.shape[0] for t in types.values() if t.shape), 0)
    told = {*classes.taken}
    ordered = sorted(classes.by_key.values(), key=lambda made: sum(1 for _ in made.unit.walk()))
    texts = [ClassText(made, classes, told, batch).text(_doc(made)) for made in ordered]
    main = ClassText(model, classes, told, batch)
    texts.append(main.text(f"The {_title(graph)} model; its sub-modules bear the recipe's names."))
    return _file(graph, types, embedding, Shapes(model, batch), place, texts)


def _doc(made: Class) -> str:
    unit = made.unit
    if not unit.path:
        return f"The body of `{unit.place.step}`."
    more = len(made.units) - 1
    return f"The recipe's `{unit.path}`{f' and {more} more like it' if more else ''}."


def _file(
    graph: Graph, types: Mapping[str, TensorType], embedding: Embedding, said: Shapes, place: Place, texts: list[str]
) -> str:
    head = HEADER.format(
        name=_title(graph),
        params=f"{total(graph, types).params:,}",
        needs=" and ".join(("torch", *embedding.packages)),
        inputs=", ".join(f"{n} {said.value(place, n)}" for n in graph.input_names),
        made=", ".join(f"{n} {said.value(place, i)}" for n, i in graph.outputs),
    )
    body = [*embedding.definitions.values()]
    code = "\n".join(texts)
    body += [STEPS] if re.search(r"\bSteps\b", code) else []
    body += [BODY] if re.search(r"\bBody\(", code) else []
    body += texts
    needed = {"from typing import Any"} if re.search(r"\bAny\]", code) else set()
    needed |= {"from collections.abc import Callable", "from typing import NamedTuple"} if BODY in body else set()
    parts = [f"{head}\n{_imports(embedding, body, needed)}", *body, LOADER]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def _imports(embedding: Embedding, body: list[str], needed: set[str]) -> str:
    torch_lines = {"import torch", "from torch import Tensor, nn"}
    if "F" in embedding.imports or any(re.search(r"\bF\.", part) for part in body):
        torch_lines.add("import torch.nn.functional as F")
    lines = {"import json", "import struct", "import sys", "from pathlib import Path", *needed}
    for line in embedding.import_lines():
        if line not in _GIVEN:
            (torch_lines if line.split()[1].split(".")[0] == "torch" else lines).add(line)
    ordered = [
        sorted(_merged(group), key=lambda line: (line.startswith("from"), line)) for group in (lines, torch_lines)
    ]
    return "\n".join(["from __future__ import annotations", "", *ordered[0], "", *ordered[1]])


def _merged(lines: set[str]) -> list[str]:
    """Import statements, those from one module as one."""
    whole: dict[str, list[str]] = {}
    for line in sorted(lines):
        head, _, names = line.partition(" import ")
        whole.setdefault(head if names else line, []).extend(names.split(", ") if names else [])
    return [f"{head} import {', '.join(sorted(names))}" if names else head for head, names in whole.items()]


def _title(graph: Graph) -> str:
    return re.sub(r"[^\w .@-]", "_", graph.name)  # it stands in docstrings, which it must not end
