"""A model as an ONNX file, compared with the model itself where onnxruntime is installed."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assembler.compile.exported import EXAMPLES, Exported, evaluating, examples, exported, quiet, step_behind
from assembler.compile.files import whole
from assembler.compile.free import sizes_at
from assembler.compile.model import Compiled
from assembler.errors import GraphError, InputError, Problem
from assembler.graph.core import Graph
from assembler.graph.structure import flatten, pack

TOLERANCE = 1e-4
"""How far an output may be from the model's, relative to the largest of its values."""
_NEEDED = ("onnx", "onnxscript")
_INSTEAD = {
    "constant_pad_nd.*complex": "an inverse FFT of fewer than n // 2 + 1 frequencies pads complex numbers: pad their "
    "parts yourself, before aten.view_as_complex",
    "_linalg_svd": "the largest singular value is also that of some rounds of power iteration, a loop of products",
}
"""What says the same with operators that ONNX has, by a pattern of the exporter's words."""
_LARGEST = 1_900_000_000  # bytes of weights; protobuf ends at two gigabytes


def save_onnx(module: Compiled, file: str | Path, free: Sequence[str] = ()) -> str:
    """Write a compiled model as an ONNX file, whole or not at all; what `exported` leaves free is free in it.

    Inputs and outputs have the graph's names. It returns what there is to say: how far the outputs of onnxruntime are
    from the model's. Raises InputError where the extra `onnx` is not installed or the weights are too large for one
    file, GraphError for a step that ONNX has no operator for and where outputs differ by more than `TOLERANCE`.
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        said = f"ONNX files need {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed"
        raise InputError(said, hint="pip install 'assembler[onnx]'")
    size = sum(t.numel() * t.element_size() for t in module.state_dict().values())
    if size > _LARGEST:
        raise InputError(f"{size / 1e9:.1f} GB of weights do not fit into an ONNX file", hint="export to pt2")
    found = exported(module, free)
    program = _translated(found)
    with whole(file) as temporary:
        program.save(str(temporary))
        told = _compared(module, found, temporary)
    return "; ".join(filter(None, (found.fixed, told)))


def _translated(found: Exported) -> Any:
    try:
        with quiet(), _silent():
            plain = found.program.run_decompositions(_PLAINER)
            program = torch.onnx.export(plain, dynamo=True, verbose=False)
    except Exception as error:  # the exporter's errors have no common root
        path = step_behind(error)
        where = f" because of {path}" if path else ""
        said = _cause(error)
        instead = next((hint for pattern, hint in _INSTEAD.items() if re.search(pattern, said)), "")
        hint = f"{instead}; or export to pt2" if instead else "export to pt2"
        raise GraphError(Problem(f"the model has no ONNX form{where}: {said}", path=path, hint=hint)) from error
    assert program is not None  # it is where no file is named
    given = [name for name, _ in flatten(examples(found.graph, EXAMPLES))]
    _rename(program.model.graph, given, [name for name, _ in found.graph.outputs])
    return program


def _rename(graph: Any, given: list[str], made: list[str]) -> None:
    """Give inputs and outputs the names of the recipe; an output that is called like an input is `NAME.out`."""
    ends = {id(value): name for value, name in zip(graph.inputs, given, strict=True)}
    ends |= {id(v): f"{n}.out" if n in given else n for v, n in zip(graph.outputs, made, strict=True)}
    values = [*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)]
    for value in values:  # a name can be given once it is nobody's
        if id(value) in ends or value.name in ends.values():
            value.name = f"{value.name}.value"
    for value in values:
        if id(value) in ends:
            value.name = ends[id(value)]


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention in evaluation as products and a softmax, which ONNX has for any number of axes."""
    if enable_gqa:
        k, v = (x.repeat_interleave(q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
    if attn_mask is not None:
        hidden = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, float("-inf")) if hidden else scores + attn_mask
        seen = (scores > float("-inf")).any(-1, keepdim=True)
        return scores.softmax(-1).masked_fill(~seen, 0.0) @ v  # zero for what sees nothing, as in torch
    return scores.softmax(-1) @ v


def _mean(x: Tensor, dim: list[int] | None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    """The mean over all axes, which the exporter takes for one over none where it is written with `dim=None`."""
    if dim or keepdim or dtype is not None:
        return NotImplemented
    return torch.ops.aten.mean.default(x)


_PLAINER: dict[Any, Any] = {
    torch.ops.aten.scaled_dot_product_attention.default: _attention,
    torch.ops.aten.mean.dim: _mean,
}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The exporter tells its progress on standard output and to its logger."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines() or [type(error).__name__]
    return lines[0].strip(" .!:")


def _compared(module: Compiled, found: Exported, file: Path) -> str:
    """What onnxruntime makes of a file beside what the model makes."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "not compared with the model: onnxruntime is not installed"
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for inputs in _tried(found):
        gaps = _gaps(module, found.graph, session, inputs)
        name = max(gaps, key=lambda name: gaps[name])
        if gaps[name] > TOLERANCE:
            cause = _cause_in(lambda given: _gaps(module, found.graph, session, given), inputs)
            what = f"onnxruntime's '{name}' is {gaps[name]:.1e} away from the model's{cause}"
            raise GraphError(what, hint="export to pt2")
        worst = max(worst, gaps[name])
    return f"onnxruntime is within {worst:.1e} of the model"


def _gaps(module: Compiled, graph: Graph, session: Any, inputs: dict[str, Any]) -> dict[str, float]:
    """By output, how far onnxruntime is from the model, relative to the largest of its values, which is 1 at least."""
    with evaluating(module), torch.no_grad():
        wanted = module(**inputs)
    names = {one.name for one in session.get_inputs()}  # those that nothing depends on are gone
    values = {name: value.numpy() for name, value in flatten(inputs) if name in names}
    made = [torch.as_tensor(value) for value in session.run(None, values)]
    several = [wanted] if isinstance(wanted, Tensor) else [value for _, value in flatten(wanted)]
    return {n: _gap(a.cpu(), b) for (n, _), a, b in zip(graph.outputs, several, made, strict=True)}


def _cause_in(gaps: Callable[[dict[str, Any]], dict[str, float]], inputs: dict[str, Any]) -> str:
    """Which input is the reason for a difference: one without which, all of it being 1, there is none; else ""."""
    given = list(flatten(inputs))
    for name, value in given:
        plain = pack((n, torch.ones_like(value) if n == name else v) for n, v in given)
        if max(gaps(plain).values()) <= TOLERANCE:
            return f", because of '{name}': it is not where that is 1 everywhere"
    return ""


def _tried(found: Exported) -> Iterator[dict[str, Any]]:
    """Inputs to compare on: of two batches where the batch is free, and of half the size where further axes are."""
    for batch in (EXAMPLES,) if found.fixed else (EXAMPLES, EXAMPLES + 1):
        yield examples(found.graph, batch, seed=batch)
    if any(found.free.values()):
        yield examples(found.graph, EXAMPLES, EXAMPLES, sizes_at(found.graph, found.free, 0.5))


def _gap(ours: Tensor, theirs: Tensor) -> float:
    a, b = ours.double(), theirs.double()
    same = (a == b) | (a.isnan() & b.isnan())
    apart = torch.where(same, 0.0, (a - b).abs().nan_to_num(float("inf")))
    largest = a[a.isfinite()].abs().max() if a.isfinite().any() else 1.0
    return float(apart.max()) / max(1.0, float(largest)) if apart.numel() else 0.0
