"""Other people's weights under a recipe's names: each tensor of the model is looked up, or made, by a weights map."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from assembler.errors import InputError, Problem, near
from assembler.recipe.weights import Rule, Take, WeightsMap, weights_map

MOST_NAMED = 20
"""How many unmapped names are listed one by one."""


def mapped(
    map: WeightsMap | Mapping[str, Any],
    theirs: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
    *,
    partial: bool = False,
    namesakes: bool = False,
) -> dict[str, Tensor]:
    """The tensors of `ours` (a `state_dict`), made of `theirs` by a weights map.

    Of parameters that are tied in the model, one needs a rule; with `namesakes` what no rule covers is theirs of the
    same name and shape. Raises InputError with every name of ours that no rule covers, rule that covers none, name of
    theirs that is missing, and shape that is not the model's; with `partial` there are those that fit and no errors.
    """
    reading = _Reading(map if isinstance(map, WeightsMap) else weights_map(map), theirs)
    found = {k: t for k, t in ((k, reading.made(k)) for k in ours) if t is not None}
    if namesakes:
        left = ours.keys() - found.keys() - reading.failed
        found |= {k: theirs[k] for k in ours if k in left and k in theirs and theirs[k].shape == ours[k].shape}
    if partial:
        return {k: t for k, t in found.items() if t.shape == ours[k].shape}
    tie(found, ours, reading.problems)
    reading.complain(found, ours)
    if reading.problems:
        raise InputError(reading.problems)
    return found


def unread(map: WeightsMap | Mapping[str, Any], theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> list[str]:
    """The names of `theirs` that no tensor of `ours` is made of, tied ones aside: a head that the model has not."""
    reading = _Reading(map if isinstance(map, WeightsMap) else weights_map(map), theirs)
    for key in ours:
        reading.made(key)
    seen = {_place(reading.theirs[name]) for name in reading.read}
    return [name for name, tensor in theirs.items() if _place(tensor) not in seen]


class _Reading:
    """Makes tensors by the rules of a map; keeps what was read and what was wrong."""

    def __init__(self, map: WeightsMap, theirs: Mapping[str, Tensor]) -> None:
        self.map = map
        self.theirs = {name.removeprefix(map.prefix): tensor for name, tensor in theirs.items()}
        self.read: set[str] = set()
        self.used: set[str] = set()
        self.failed: set[str] = set()
        self.problems: list[Problem] = []

    def made(self, key: str) -> Tensor | None:
        """The tensor for our `key`; None where no rule covers it or what the rule reads is not there."""
        for rule in self.map.rules:
            words = pattern(rule.pattern).fullmatch(key)
            if words:
                self.used.add(rule.pattern)
                found = self.take(rule.take, words.groups(), key)
                if found is None:
                    self.failed.add(key)
                return found
        return None

    def take(self, take: Take, words: tuple[str, ...], key: str) -> Tensor | None:
        found = self.source(take, words, key)
        if found is None:
            return None
        try:
            for how, numbers in take.edits:
                found = edited(found, how, numbers)
        except (RuntimeError, IndexError) as error:
            self.wrong(f"{how} does not suit {list(found.shape)}: {_first_line(error)}", take, key)
            return None
        return found

    def source(self, take: Take, words: tuple[str, ...], key: str) -> Tensor | None:
        if take.name:
            return self.named(filled(take.name, words), take, key)
        if take.how == "any":
            return self.first(take, words, key)
        parts = [self.take(part, words, key) for part in take.parts]
        if any(part is None for part in parts):
            return None
        tensors = [part for part in parts if part is not None]
        if take.how == "from":
            return tensors[0]
        try:
            return torch.cat(tensors, take.axis)
        except (RuntimeError, IndexError) as error:
            shapes = ", ".join(str(list(t.shape)) for t in tensors)
            self.wrong(f"concat does not suit {shapes}: {_first_line(error)}", take, key)
            return None

    def first(self, take: Take, words: tuple[str, ...], key: str) -> Tensor | None:
        """The first part whose names are all there."""
        for part in take.parts:
            if all(self.short(name) in self.theirs for name in _names(part, words)):
                return self.take(part, words, key)
        names = [name for part in take.parts for name in _names(part, words)]
        self.missing(f"neither {' nor '.join(map(repr, names))}", names, take, key)
        return None

    def short(self, name: str) -> str:
        return name.removeprefix(self.map.prefix)

    def named(self, name: str, take: Take, key: str) -> Tensor | None:
        if self.short(name) not in self.theirs:
            self.missing(f"no '{name}'", [name], take, key)
            return None
        self.read.add(self.short(name))
        return self.theirs[self.short(name)]

    def missing(self, what: str, names: list[str], take: Take, key: str) -> None:
        nearest = next(filter(None, (near(self.short(name), self.theirs) for name in names)), "")
        some = ", ".join(list(self.theirs)[:4])
        hint = nearest or (f"they have {some}, ..." if some else "they are empty")
        self.problems.append(Problem(f"the weights have {what}, which '{key}' is made of", take.span, key, hint))

    def wrong(self, message: str, take: Take, key: str) -> None:
        self.problems.append(Problem(f"'{key}': {message}", take.span, key))

    def complain(self, found: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> None:
        """Add names that no rule covers, rules that cover none, and shapes that are not the model's."""
        patterns = [rule.pattern for rule in self.map.rules]
        bare = [key for key in ours if key not in found and key not in self.failed]
        for key in bare[:MOST_NAMED]:
            hint = near(key, [p for p in patterns if p not in self.used]) or "add a rule for it"
            self.problems.append(Problem(f"no rule of the weights map covers '{key}'", path=key, hint=hint))
        if len(bare) > MOST_NAMED:
            self.problems.append(Problem(f"and {len(bare) - MOST_NAMED} more that no rule covers"))
        for rule in self.map.rules:
            if rule.pattern not in self.used:
                self.problems.append(_unused(rule, list(ours)))
        for key, tensor in found.items():
            if tensor.shape != ours[key].shape:
                said = f"'{key}' is {list(tensor.shape)} in the weights, the model needs {list(ours[key].shape)}"
                self.problems.append(Problem(said, path=key))


def _names(take: Take, words: tuple[str, ...]) -> list[str]:
    """All names that a tensor is made of."""
    own = [filled(take.name, words)] if take.name else []
    return own + [name for part in take.parts for name in _names(part, words)]


def _unused(rule: Rule, ours: list[str]) -> Problem:
    said = f"the pattern '{rule.pattern}' of the weights map fits no tensor of the model"
    if any(pattern(rule.pattern).fullmatch(key) for key in ours):
        said = (
            f"the pattern '{rule.pattern}' of the weights map is never reached: others before it take all that it fits"
        )
    return Problem(said, rule.span, hint=near(rule.pattern, ours, most=1))


def tie(found: dict[str, Tensor], ours: Mapping[str, Tensor], problems: list[Problem]) -> None:
    """Give tied parameters that have no rule the value of the one that has; complain of two values for one."""
    groups: dict[Any, list[str]] = {}
    for key, tensor in ours.items():
        if tensor.numel():
            groups.setdefault(_place(tensor), []).append(key)
    for keys in groups.values():
        given = [key for key in keys if key in found]
        for key in keys:
            if given and key not in found:
                found[key] = found[given[0]]
        for other in given[1:]:
            if not torch.equal(found[given[0]], found[other]):
                said = f"'{given[0]}' and '{other}' are one tensor in the model, but two in the weights"
                problems.append(Problem(said, path=other, hint="map one of them, or do not share it"))


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """What is the same of two tensors that are one; the address of memory is not, on the meta device."""
    return tensor.untyped_storage()._cdata, tensor.storage_offset(), tensor.shape


def edited(tensor: Tensor, how: str, numbers: tuple[int, ...]) -> Tensor:
    """One edit of a rule done to a tensor. Raises RuntimeError or IndexError where it does not suit the shape."""
    if how == "chunk":
        k, n, axis = numbers
        if tensor.shape[axis] % n:
            raise RuntimeError(f"axis {axis} of {tensor.shape[axis]} does not split into {n} equal parts")
        return tensor.tensor_split(n, axis)[k]
    if how == "reshape":
        return tensor.reshape(numbers)
    return tensor.permute(numbers) if how == "permute" else tensor.transpose(-1, -2)


@functools.cache
def pattern(text: str) -> re.Pattern[str]:
    """A pattern of names as a regular expression: `*` is any text without a dot."""
    return re.compile("([^.]+)".join(re.escape(part) for part in text.split("*")))


def filled(name: str, words: tuple[str, ...]) -> str:
    """`name` with its `*` replaced by `words`, one after another."""
    return "".join(_alternate(name.split("*"), words))


def _alternate(parts: list[str], words: tuple[str, ...]) -> Iterator[str]:
    for part, word in zip(parts, (*words[: len(parts) - 1], ""), strict=True):
        yield part
        yield word


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
