"""Where to compute, and seeds."""

from __future__ import annotations

import random

import torch

from assembler.errors import InputError, near

_KINDS = ("auto", "cpu", "cuda", "mps")


def resolve(name: str = "auto") -> torch.device:
    """The device that `name` means: "cpu", "cuda", "cuda:1", "mps", or "auto" for the best one there is.

    Raises InputError for an unknown name and for a device that this machine or this build of torch lacks.
    """
    kind, _, index = name.partition(":")
    if kind not in _KINDS or (index and (kind != "cuda" or not index.isdecimal())):
        hint = near(kind, _KINDS) or "devices are auto, cpu, cuda, cuda:N and mps"
        raise InputError(f"unknown device '{name}'", hint=hint)
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    if kind == "mps" and not _has_mps():
        raise InputError("device 'mps' is not there: torch finds no Apple GPU", hint="use 'auto' or 'cpu'")
    if kind == "cuda":
        _require_cuda(name, int(index or 0))
    return torch.device(name)


def seed_all(seed: int) -> None:
    """Seed Python's and torch's generators, those of every GPU included."""
    random.seed(seed)
    torch.manual_seed(seed)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _require_cuda(name: str, index: int) -> None:
    if not torch.cuda.is_available():
        why = "this build of torch has no CUDA" if torch.version.cuda is None else "torch finds no CUDA GPU"
        raise InputError(f"device '{name}' is not there: {why}", hint="use 'auto' or 'cpu'")
    if index >= (count := torch.cuda.device_count()):
        raise InputError(f"device '{name}' is not there: torch finds {count} GPU(s), counted from 0")
