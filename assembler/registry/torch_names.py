"""Every `torch.nn` class as an op, its signature read from torch's source without importing torch.

`Conv2d` and `conv2d` are one op: the class's own arguments, the input width inferred, the output width also as `out`.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from assembler.registry.entry import Entry, Param
from assembler.registry.static import class_signature

# Where an argument that a recipe leaves out is read from the input's shape.
_FROM_SHAPE = {
    "in_channels": "axis 1",
    "num_features": "axis 1",
    "num_channels": "axis 1",
    "in_features": "axis -1",
    "normalized_shape": "axis -1",
    "embed_dim": "axis -1",
    "d_model": "axis -1",
    "input_size": "axis -1",
}
_OUT = ("out_channels", "out_features", "embedding_dim", "hidden_size")
_OUTPUTS = {
    "RNN": ("output", "hidden"),
    "GRU": ("output", "hidden"),
    "LSTM": ("output", "hidden", "cell"),
    "LSTMCell": ("hidden", "cell"),
    "MultiheadAttention": ("output", "weights"),
}
"""Classes that return a tuple, and names for what is in it."""
_STATES = dict.fromkeys(("RNN", "GRU", "RNNCell", "GRUCell"), ("hidden",)) | dict.fromkeys(
    ("LSTM", "LSTMCell"), ("hidden", "cell")
)
"""Classes that take a state as `hx`, and its parts as inputs, called as the outputs that they become."""
_NOT_OPS = {"Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Container", "Sequential"}
_NOT_OPS |= {"RNNBase", "RNNCellBase", "LinearCrossEntropyOptions", "NLLLoss2d"}
_SNAKE = {"PReLU": "prelu", "RReLU": "rrelu", "LogSoftmax": "log_softmax", "RMSNorm": "rms_norm", "GLU": "glu"}

_NEXT = re.compile(r"^(?:class |def |@|[A-Z]\w* = )", re.MULTILINE)


def snake(name: str) -> str:
    """The op name of a class: `Conv2d` -> `conv2d`, `LayerNorm` -> `layer_norm`, `GELU` -> `gelu`."""
    if name in _SNAKE or name.upper() == name or name.endswith("LU"):
        return _SNAKE.get(name) or re.sub(r"(?<=y)R", "_r", name).replace("kyRe", "ky_Re").lower()
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return name.lower().replace("re_lu", "relu")


@functools.cache
def _folder() -> Path | None:
    spec = importlib.util.find_spec("torch")
    found = Path(spec.origin).parent / "nn" / "modules" if spec and spec.origin else None
    return found if found and found.is_dir() else None


@functools.cache
def classes() -> dict[str, str]:
    """Class name -> the stem of the file under torch/nn/modules that defines it."""
    folder = _folder()
    if folder is None:
        return {}
    tree = ast.parse((folder / "__init__.py").read_text())
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            stem = node.module.rsplit(".", 1)[-1]
            found |= {a.name: stem for a in node.names if a.name[0].isupper()}
    lazy = {n for n in found if n.startswith("Lazy") or n.endswith("Loss")}
    return {n: stem for n, stem in found.items() if n not in _NOT_OPS | lazy}


@functools.cache
def by_snake() -> dict[str, str]:
    """Op name -> class name."""
    return {snake(name): name for name in classes()}


def _about(doc: str) -> str:
    """The first paragraph of a class's text that is none of its signature."""
    parts = (part for part in doc.strip().split("\n\n") if not part.startswith("__init__("))
    return next(parts, "").replace("\n", " ").removeprefix("r")


@functools.cache
def find(name: str) -> Entry | None:
    """The entry of a `torch.nn` class by its own or its op name, or None."""
    cls = name if name in classes() else by_snake().get(name)
    folder = _folder()
    if cls is None or folder is None:
        return None
    stem = classes()[cls]
    node = _class(stem, cls)
    assert node is not None
    signature = class_signature(_with_methods(node, stem))
    params = tuple(_adapt(p, cls) for p in signature["params"] if p.name not in ("device", "dtype"))
    doc = ast.get_docstring(node) or ""
    states = _STATES.get(cls, ())
    return Entry(
        kind="op",
        name=snake(cls),
        params=params,
        inputs=("input", *states) if states else signature.get("inputs") or ("input",),
        variadic=signature.get("variadic", False),
        optional=len(states) or signature.get("optional", 0),
        doc=_about(doc),
        module="torch.nn",
        qualname=cls,
        file=str(folder / f"{stem}.py"),
        source=cls,
        options=_options(cls),
        shape="class",
    )


def _options(cls: str) -> tuple[tuple[str, Any], ...]:
    packed = (("packed", ("hx", _STATES[cls])),) if cls in _STATES else ()
    if cls not in _OUTPUTS:
        return packed
    nested = (("paths", ((0,), (1, 0), (1, 1))),) if cls == "LSTM" else ()  # (output, (hidden, cell))
    return (("outputs", _OUTPUTS[cls]), *nested, *packed)


@functools.cache
def _text(stem: str) -> str:
    folder = _folder()
    assert folder is not None
    return (folder / f"{stem}.py").read_text()


@functools.cache
def _class(stem: str, name: str) -> ast.ClassDef | None:
    """A class that a file defines; its text alone is parsed, which takes a tenth of the time of parsing the file."""
    text = _text(stem)
    found = re.search(rf"^class {name}\b", text, re.MULTILINE)
    if found is None:
        return None
    after = _NEXT.search(text, found.end())
    node = ast.parse(text[found.start() : after.start() if after else None]).body[0]
    assert isinstance(node, ast.ClassDef)
    return node


def _with_methods(node: ast.ClassDef, stem: str) -> ast.ClassDef:
    """The class with `__init__` and `forward` filled in from its bases in the same file."""
    have = {f.name for f in node.body if isinstance(f, ast.FunctionDef)}
    body = list(node.body)
    for base in node.bases:
        found = _class(stem, base.id) if isinstance(base, ast.Name) else None
        for f in _with_methods(found, stem).body if found else ():
            if isinstance(f, ast.FunctionDef) and f.name not in have:
                have.add(f.name)
                body.append(f)
    return ast.ClassDef(node.name, node.bases, node.keywords, body, node.decorator_list)


def _adapt(param: Param, cls: str) -> Param:
    if param.name in _OUT:
        return replace(param, name="out")
    if param.name == "embed_dim" and cls != "MultiheadAttention":
        return param
    if param.name in _FROM_SHAPE and not (cls == "Embedding" or param.default is None):
        return replace(param, inferred=_FROM_SHAPE[param.name])
    return param
