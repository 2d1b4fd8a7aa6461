"""Constraints that weights meet after every step of a training: unit norm, bounded norm, a range."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from assembler.errors import Problem, RecipeError, near
from assembler.graph.values import covers

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

NEEDS: dict[str, tuple[str, ...]] = {"unit_norm": ("dim",), "max_norm": ("dim", "most"), "range": ("low", "high")}
"""The constraints, and the numbers that each takes. `dim` is the axis, or axes, that a norm is taken along."""
Constraints = Mapping[str, Mapping[str, Any]]
"""By path, or pattern of paths, of weights: `{name: unit_norm, dim: 0}`."""


def problems(given: Constraints | None) -> list[Problem]:
    """What is wrong with the constraints that a recipe writes, beside their paths."""
    return [p for path, one in (given or {}).items() for p in _wrong(path, one)]


def _wrong(path: str, one: Mapping[str, Any]) -> list[Problem]:
    where = f"the constraint of '{path}'"
    name = one.get("name") if isinstance(one, Mapping) else None
    if name not in NEEDS:
        hint = near(str(name), NEEDS) or "for instance {name: unit_norm, dim: 0}; " + ", ".join(NEEDS)
        return [Problem(f"{where} is none that there is: {name!r}", hint=hint)]
    wanted = {"name", *NEEDS[name]}
    if {*one} != wanted:
        return [
            Problem(f"{where}, {name}, takes {' and '.join(NEEDS[name])}", hint=f"not {', '.join({*one} ^ wanted)}")
        ]
    numbers = {key: one[key] for key in NEEDS[name]}
    whole = [numbers.pop("dim")] if "dim" in numbers else []
    bad = [v for v in whole if not (_is_int(v) or (isinstance(v, list) and v and all(map(_is_int, v))))]
    bad += [v for v in numbers.values() if isinstance(v, bool) or not isinstance(v, int | float)]
    if bad:
        return [
            Problem(f"{where}, {name}, cannot be of {bad[0]!r}", hint="dim is an axis or several, the rest numbers")
        ]
    if name == "range" and one["low"] > one["high"]:
        return [Problem(f"{where} has its ends the wrong way round: {one['low']} to {one['high']}")]
    return []


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def attach(optimizer: Optimizer, params: Mapping[str, nn.Parameter], given: Constraints | None) -> None:
    """Let the parameters, by recipe path, meet their constraints now and after every step of the optimiser.

    Of a weight of unit norm the gradient is taken along the sphere: the part that would change the norm is left out.
    """
    held = [(p, one) for path, one in (given or {}).items() for name, p in params.items() if covers(path, name)]
    for parameter, one in held:
        _meet(parameter, one)
    if not held:
        return

    def before(*_: Any) -> None:
        for parameter, one in held:
            _tangent(parameter, one)

    def after(*_: Any) -> None:
        for parameter, one in held:
            _meet(parameter, one)

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


def check(given: Constraints | None, known: Iterable[str]) -> None:
    """Raise RecipeError for a path under which no trained parameter lies."""
    names = list(known)
    for path in given or {}:
        if not any(covers(path, name) for name in names):
            said = f"there is no trained weight '{path}' for a constraint"
            raise RecipeError(
                said, path="train.constraints", hint=near(path, names) or f"trained are {', '.join(names[:6])}"
            )


def _meet(parameter: Tensor, one: Mapping[str, Any]) -> None:
    """Change a parameter in place to the nearest that meets a constraint."""
    import torch

    with torch.no_grad():
        if one["name"] == "range":
            parameter.clamp_(one["low"], one["high"])
            return
        norm = torch.linalg.vector_norm(parameter, dim=one["dim"], keepdim=True).clamp_min(1e-12)
        parameter.mul_(1 / norm if one["name"] == "unit_norm" else (one["most"] / norm).clamp_max(1.0))


def _tangent(parameter: Tensor, one: Mapping[str, Any]) -> None:
    """Take out of the gradient of a weight of unit norm what lies along the weight."""
    if one["name"] == "unit_norm" and parameter.grad is not None:
        along = (parameter.grad * parameter.detach()).sum(dim=one["dim"], keepdim=True)
        parameter.grad.sub_(along * parameter.detach())
