"""Weights in files: safetensors, keyed by recipe path. A pickle is read only if it holds tensors and nothing else."""

from __future__ import annotations

import json
import pickle
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from assembler.compile.files import whole
from assembler.errors import InputError, Problem, near

_MOST, _SHOWN = 10, 4
"""How many misfits are all told, and how many of more are."""


def save_weights(
    source: nn.Module | Mapping[str, Tensor], file: str | Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a module's `state_dict` (or one given as such) and `metadata` to a safetensors file, whole or not at all.

    One tensor under several names is written once; the metadata says of the other names which it is, as that of
    `safetensors.torch.save_model` does. Raises InputError where the file cannot be written.
    """
    state = source.state_dict() if isinstance(source, nn.Module) else source
    seen: set[int] = set()
    first: dict[tuple[object, ...], str] = {}
    apart: dict[str, Tensor] = {}
    told = dict(metadata or {})
    for name, tensor in state.items():
        storage = tensor.untyped_storage().data_ptr()
        same = first.setdefault((storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype), name)
        if same != name and tensor.numel():
            told[name] = same
            continue
        apart[name] = tensor.detach().clone().contiguous() if storage in seen else tensor.detach().contiguous()
        seen.add(storage)
    with whole(file) as temporary:
        try:
            if apart:
                save_file(apart, temporary, told)
            else:  # safetensors 0.8 writes a header that is no JSON where there is metadata and no tensor
                header = json.dumps({"__metadata__": told}).encode()
                temporary.write_bytes(struct.pack("<Q", len(header)) + header)
        except safetensors.SafetensorError as error:
            raise InputError(f"cannot write {file}: {error}") from error


def read_weights(file: str | Path) -> dict[str, Tensor]:
    """The tensors of a weights file, on the CPU, with those of several names under each. Runs nothing that it holds.

    Raises InputError for a missing, truncated or damaged file and for a pickle that holds more than tensors.
    """
    path = Path(file)
    if not path.is_file():
        raise InputError(f"no weights file {path}")
    with path.open("rb") as stream:
        start = stream.read(9)
    # torch.save writes a zip, before 1.6 a bare pickle. A safetensors file begins with a length, any bytes, and a "{".
    if start.startswith((b"PK", b"\x80")) and start[8:] != b"{":
        return _read_pickle(path)
    try:
        found: dict[str, Tensor] = load_file(path)
        with safetensors.safe_open(path, "pt") as opened:
            told = opened.metadata() or {}
        return {**found, **{name: found[same] for name, same in told.items() if same in found and name not in found}}
    except safetensors.SafetensorError as error:
        what = f"{path} is not a whole safetensors file, it is truncated or damaged"
        raise InputError(what, hint=f"safetensors says: {error}") from error


def load_weights(module: nn.Module, file: str | Path) -> None:
    """Fill `module` from a weights file whose keys are exactly its recipe paths.

    Raises InputError, with a problem for every parameter that is missing, unexpected or of another shape; the module
    is then as it was.
    """
    fill(module, read_weights(file), str(file))


def fill(module: nn.Module, state: Mapping[str, Tensor], file: str = "the weights") -> None:
    """Like `load_weights`, from tensors by recipe path; `file` is what messages call them."""
    problems = list(misfits(module.state_dict(), state, file))
    if problems:
        raise InputError(few(problems, module.state_dict(), state))
    put(module, state)


def misfits(
    wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], file: str, owner: str = "the model"
) -> Iterator[Problem]:
    """Every name that only one of a `state_dict` and of given tensors has, and every shape that differs."""
    free = [k for k in wanted if k not in state]
    for k in free:
        yield Problem(f"{file}: no '{k}', which {owner} has", path=k)
    for k in state:
        if k not in wanted:
            yield Problem(f"{file}: '{k}' is not in {owner}", path=k, hint=near(k, free or wanted))
    for k, tensor in wanted.items():
        if k in state and state[k].shape != tensor.shape:
            given, needed = list(state[k].shape), list(tensor.shape)
            yield Problem(f"{file}: '{k}' is {given}, {owner} needs {needed}", path=k)


def few(problems: Sequence[Problem], wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[Problem]:
    """Problems of weights; of many, or where no name fits, the first ones, each kind counted in the very first."""
    missing, unknown = (sum(k not in b for k in a) for a, b in ((wanted, state), (state, wanted)))
    if len(problems) <= (_SHOWN if missing == len(wanted) else _MOST):
        return list(problems)
    file = problems[0].message.partition(": ")[0]
    counts = {
        f"{missing} of the {len(wanted)} tensors that it needs are missing": missing,
        f"{unknown} that it has are not needed": unknown,
        f"{len(problems) - missing - unknown} have another shape": len(problems) - missing - unknown,
    }
    what = f"{file}: these are another model's weights: {', '.join(said for said, n in counts.items() if n)}"
    shown = [p for p in problems if p.path in wanted][:_SHOWN] or problems[:_SHOWN]
    message = f"{what}; first {shown[0].message.removeprefix(f'{file}: ')}"
    hint = "weights: {file: ..., map: {OURS: THEIRS}} maps names" if missing == len(wanted) else ""
    first = replace(shown[0], message=message, hint=hint)
    return [first] if missing == len(wanted) else [first, *(replace(p, hint="") for p in shown[1:])]


def put(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Fill the parameters of `module` that `state`, whose names and shapes are its own, has something for."""
    if not any(t.is_meta for t in module.state_dict().values()):
        module.load_state_dict(dict(state), strict=False)
        return
    tied = _tied(module)
    module.load_state_dict(dict(state), strict=False, assign=True)
    for first, name in tied:  # each name was given a tensor of its own
        owner, _, parameter = name.rpartition(".")
        setattr(module.get_submodule(owner), parameter, module.get_parameter(first))


def _tied(module: nn.Module) -> list[tuple[str, str]]:
    """Names of parameters that are one, each further one with the first."""
    first: dict[nn.Parameter, str] = {}
    found = [(first.setdefault(p, name), name) for name, p in module.named_parameters(remove_duplicate=False)]
    return [(one, other) for one, other in found if one != other]


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as stream, warnings.catch_warnings():  # given the path, torch would go by the suffix
            warnings.simplefilter("ignore")
            state = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = f"{path} is a pickle that holds more than tensors; reading it could run code, so it is refused"
        raise InputError(what, hint="save the state_dict alone, best as safetensors") from error
    except Exception as error:  # a truncated zip, a torch.jit archive, some other zip
        raise InputError(f"{path} is not a whole torch checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        what = f"{path} does not hold a state_dict: a mapping of names to tensors"
        raise InputError(what, hint="save `model.state_dict()` alone")
    return dict(state)
