"""Why a module does not run, or cannot be traced: what is wrong, at which line of the module's code, what to do."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Sequence

import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from assembler.errors import GraphError, Problem
from assembler.importing.example import BATCH, Inputs, evaluating
from assembler.importing.sizes import runs
from assembler.infer.make import reason

_OTHERS = tuple(os.path.dirname(os.path.dirname(os.path.abspath(f))) for f in (__file__, torch.fx.__file__))
_PLACE = re.compile(r"^/\S+\.(?:cpp|h|cu):\d+: ")
_DECIDES = "decides by values that are known only when it runs"


class UntraceableError(GraphError):
    """A module cannot be traced; `culprit` is the path of the innermost part that is the reason, "" if unknown."""

    def __init__(self, problems: str | Problem, *, hint: str = "", path: str = "", culprit: str = "") -> None:
        super().__init__(problems, hint=hint, path=path)
        self.culprit = culprit


def kept_by(path: str) -> str:
    """How a part is kept as it is, on the command line and in Python."""
    return f"keep it as it is: --opaque {path} (in Python opaque=[{path!r}])"


def untraceable(module: nn.Module, path: str, error: Exception, inputs: Inputs) -> UntraceableError:
    """The error for a part that `torch.export` failed at, with the line of its code; `path` is "" for the module."""
    kind = type(module.get_submodule(path)).__name__
    who = f"'{path}' ({kind}) cannot be traced" if path else f"{kind} cannot be traced for any batch"
    why, hint = _sentence(error), kept_by(path) if path else _for_the_root(error)
    if not path and "Constraints violated" in str(error):
        given = ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.named.items())
        why = f"it computes something else at another batch than {inputs.batch}"
        hint = f"axis 0 of every input is taken for the batch: {given}"
    elif isinstance(error, GuardOnDataDependentSymNode):
        hint += "; or write the choice without `if`, as torch.where does"
    return UntraceableError(Problem(f"{who}: {why}", path=path, hint=hint), culprit=path)


def checked(module: nn.Module, inputs: Inputs) -> None:
    """Run the module once on its example. Raises GraphError, with the part and the module's own error, if it fails."""
    try:
        with evaluating(module):
            module(**inputs.kwargs)
    except Exception as error:  # the module's own, which may be any
        path = _culprit(module, error)
        part = f"in '{path}' ({type(module.get_submodule(path)).__name__}): " if path else ""
        given = ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.named.items())
        if inputs.batch == BATCH and runs(module, inputs.of_batch(1)):
            what = f"the module takes one sample and fails on two, before any tracing: {part}{_sentence(error)}"
            hint = "the graph of a model takes any batch: the module has to run on several samples"
        else:
            what = f"the module fails on these inputs, before any tracing: {part}{_sentence(error)}"
            hint = f"it was called with {given}"
            if re.search(r"\b(Long|Int|int64)\b", str(error)):  # what an embedding or an index says of floats
                hint += "; whole numbers are said as {shape: [...], dtype: int64}"
        raise GraphError(Problem(what, path=path, hint=hint)) from error


def _for_the_root(error: Exception) -> str:
    where = "there" if _frame(error) else "in `forward`"
    return f"no part of it can be kept in its place: change what it does {where}, or move that into a part of its own"


def _sentence(error: Exception) -> str:
    """What an error says, and the file and line of the code that it is about."""
    frame = _frame(error)
    place = f"{os.path.basename(frame.filename)}:{frame.lineno}" if frame else ""
    if isinstance(error, GuardOnDataDependentSymNode):
        return f"`{frame.line}` ({place}) {_DECIDES}" if frame else f"it {_DECIDES}"
    why = _PLACE.sub("", reason(error).splitlines()[0])
    return f"{why} ({place})" if place else why


def _frame(error: Exception) -> traceback.FrameSummary | None:
    """The innermost call that is neither torch's nor ours, and whose line can be shown."""
    frames: Sequence[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.line and not f.filename.startswith(_OTHERS)]
    return own[-1] if own else None


def _culprit(module: nn.Module, error: Exception) -> str:
    """The path of the innermost part in whose code an error was raised."""
    paths = {id(inner): path for path, inner in module.named_modules()}
    found, at = "", error.__traceback__
    while at is not None:
        found = paths.get(id(at.tb_frame.f_locals.get("self")), found)
        at = at.tb_next
    return found
