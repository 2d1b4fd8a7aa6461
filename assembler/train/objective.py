"""An objective: weighted loss terms over named values ("logits", "label", "teacher.logits", "host.stage.1")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from assembler.errors import Problem, RecipeError, near
from assembler.train.arguments import check, entry_of

_KEYS = ("loss", "value", "target", "weight", "name")


@dataclass(frozen=True, slots=True)
class Term:
    """One loss: `weight * loss(value, target, **args)`, where `value` and `target` name tensors."""

    name: str
    loss: str
    value: str
    target: str
    weight: float
    call: Callable[..., Tensor]
    args: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Objective:
    """A weighted sum of loss terms."""

    terms: tuple[Term, ...]

    @classmethod
    def from_spec(cls, spec: Sequence[Mapping[str, Any]], *, path: str = "objective") -> Objective:
        """The objective that a recipe writes: a list of `{loss, value, target, weight: 1.0, name, **arguments}`.

        A term without a name is called after its loss, and after its value too where that loss stands twice.
        Raises RecipeError for an unknown loss, argument or key and for a wrong type.
        """
        if not spec:
            raise RecipeError(
                "the objective has no terms", hint="[{loss: cross_entropy, value: logits, target: label}]"
            )
        terms = [_term(item, f"{path}.{i}") for i, item in enumerate(spec)]
        return cls(tuple(_distinct(terms, path)))

    @property
    def needs(self) -> frozenset[str]:
        """The names of all values that the terms read."""
        return frozenset(name for term in self.terms for name in (term.value, term.target))

    def __call__(self, values: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar total and every term's own value, unweighted and detached, by name.

        Half precision is raised to float32 first. Raises RecipeError where a named value is missing or the shapes of
        a term's value and target do not go together.
        """
        parts = {term.name: _evaluate(term, values) for term in self.terms}
        total = torch.stack([term.weight * parts[term.name] for term in self.terms]).sum()
        return total, {name: part.detach() for name, part in parts.items()}


def _term(item: Mapping[str, Any], path: str) -> Term:
    if missing := [key for key in _KEYS[:3] if not isinstance(item.get(key), str)]:
        raise RecipeError([Problem(f"a term of an objective needs '{key}', a string", path=path) for key in missing])
    weight, name = item.get("weight", 1.0), item.get("name", "")
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise RecipeError(f"'weight' must be a number, not {weight!r}", path=path)
    entry = entry_of("loss", item["loss"], path=path)
    if set(entry.inputs) != {"value", "target"}:
        inputs = ", ".join(entry.inputs) or "none"
        raise RecipeError(f"loss '{entry.name}' must take tensors named value and target, not {inputs}", path=path)
    args = check(entry, {k: v for k, v in item.items() if k not in _KEYS}, path=path, reserved=_KEYS)
    return Term(name, entry.name, item["value"], item["target"], float(weight), entry.load(), tuple(args.items()))


def _distinct(terms: list[Term], path: str) -> list[Term]:
    often = Counter(term.loss for term in terms if not term.name)
    named = []
    for term in terms:
        name = term.name or (term.loss if often[term.loss] == 1 else f"{term.loss}.{term.value}")
        named.append(Term(name, term.loss, term.value, term.target, term.weight, term.call, term.args))
    for name, count in Counter(term.name for term in named).items():
        if count > 1:
            raise RecipeError(f"{count} terms are called '{name}'", path=path, hint="give each its own `name`")
    return named


def _evaluate(term: Term, values: Mapping[str, Tensor]) -> Tensor:
    for name in (term.value, term.target):
        if name not in values:
            hint = near(name, values) or "there are " + ", ".join(sorted(values))
            raise RecipeError(f"term '{term.name}' reads '{name}', and there is no such value", hint=hint)
    value, target = _full(values[term.value]), _full(values[term.target])
    try:
        return term.call(value, target, **dict(term.args))
    except (RuntimeError, ValueError) as error:
        shapes = f"'{term.value}' {list(value.shape)} with '{term.target}' {list(target.shape)}"
        raise RecipeError(f"term '{term.name}' cannot compare {shapes}: {_first_line(error)}") from error


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
