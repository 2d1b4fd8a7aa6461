"""The `weights:` of a recipe: which file, and how a model's tensors are made of those in it, by patterns of names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from assembler.errors import Problem, RecipeError, Span, near
from assembler.recipe.edits import EDITS as CHANGES
from assembler.recipe.edits import graph_text
from assembler.recipe.notes import note, note_all
from assembler.recipe.scope import Scope, resolve, vars_of
from assembler.recipe.values import Map, Seq, Value, is_choice, marked

WEIGHTS_KEYS = ("file", "map", "prefix", "partial")
SOURCES = ("from", "concat", "any")
"""What a tensor is made of: one other, several joined along `axis`, or the first of several names that is there."""
EDITS = ("chunk", "reshape", "permute", "transpose")
_EXAMPLE = "for instance {from: transformer.wte.weight, transpose: true}"
_WANTED = {
    "chunk": "two numbers, [k, n] for the k-th of n parts, the first being 0",
    "reshape": "sizes, one of which may be -1",
    "permute": "all axes in their new order",
}
_BAD: Any = object()


@dataclass(frozen=True)
class Take:
    """A tensor made of theirs: by `name`, or of `parts`, joined along `axis` or the first that is there (`any`).

    `edits` are done to it one after another, each with its numbers; those of a chunk are k, n and the axis.
    """

    how: str = "from"
    name: str = ""
    parts: tuple[Take, ...] = ()
    axis: int = 0
    edits: tuple[tuple[str, tuple[int, ...]], ...] = ()
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Rule:
    """What the tensors of the model whose names fit `pattern` are made of."""

    pattern: str
    take: Take
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class WeightsMap:
    """Rules in order: the first whose pattern fits wins. Their names may begin with `prefix` or lack it."""

    rules: tuple[Rule, ...]
    prefix: str = ""


@dataclass(frozen=True)
class Weights:
    """The `weights:` of a model or a step: a map, if their names are not the recipe's own, and a file, if it names one.

    With `partial` only what fits is read, and the rest begins as it would without.
    """

    map: WeightsMap | None = None
    file: str = ""
    partial: bool = False
    span: Span | None = field(default=None, compare=False, repr=False)


def weights_of(tree: Map) -> Weights | None:
    """The `weights:` of a model recipe, None where it has none. Raises RecipeError with all that is wrong in it."""
    if "weights" not in tree:
        return None
    reading = _Reading(vars_of(tree))
    found = reading.section(tree.get("weights"))
    if reading.problems:
        raise RecipeError(reading.problems)
    return found


def own_weights(tree: Map, *, block: bool = False) -> Weights | None:
    """As `weights_of`; those of an edited imported model are partial: what is new begins as it would without.

    So are those of one that is a `block` of another model, which may read some of its steps alone.
    """
    own = weights_of(tree)
    edited = graph_text(tree) and (block or CHANGES in tree or "outputs" in tree)
    return replace(own, partial=True) if own is not None and edited else own


def weights_of_step(step: Map, scope: Scope, problems: list[Problem]) -> Weights | None:
    """The `weights:` of a step, None where it has none; what is wrong in it is added to `problems`."""
    if "weights" not in step:
        return None
    reading = _Reading(scope)
    found = reading.section(step.get("weights"))
    if not found.file and not reading.problems:
        hint = "for instance weights: {file: backbone.safetensors}"
        reading.note("the weights of a step need a 'file'", step.get("weights").span, hint)
    note_all(problems, reading.problems)
    return found


def weights_map(rules: Mapping[str, Any], prefix: str = "") -> WeightsMap:
    """The map of plain Python values. Raises RecipeError with all that is wrong in it."""
    reading = _Reading(Scope())
    found = reading.map(marked(rules), prefix)
    if reading.problems or found is None:
        raise RecipeError(reading.problems)
    return found


class _Reading:
    """Reads values in a scope; `problems` grows with what is wrong."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.problems: list[Any] = []

    def note(self, message: str, span: Span | None, hint: str = "") -> None:
        note(self.problems, message, span, hint)

    def plain(self, value: Value) -> Any:
        """The evaluated value, `_BAD` where that fails, which is then noted."""
        try:
            return resolve(value, self.scope)
        except RecipeError as error:
            note_all(self.problems, error.at(value.span).problems)
            return _BAD

    def section(self, value: Value) -> Weights:
        if not isinstance(value, Map) or is_choice(value) or not len(value):
            self.note(
                "'weights' must be a mapping", value.span, "for instance {file: model.safetensors}, or {map: ...}"
            )
            return Weights()
        for key in value.keys():
            if key not in WEIGHTS_KEYS:
                hint = near(key, WEIGHTS_KEYS) or f"keys: {', '.join(WEIGHTS_KEYS)}"
                self.note(f"'weights' takes no '{key}'", value.key_span(key), hint)
        file, prefix = (self.text(key, value.get(key)) for key in ("file", "prefix"))
        if prefix and "map" not in value:
            self.note("'prefix' belongs to a map", value.key_span("prefix"), "add map:, or remove it")
        found = self.map(value.get("map"), prefix) if "map" in value else None
        return Weights(found, file, self.flag(value.get("partial")), value.get("file").span if file else value.span)

    def flag(self, value: Value | None) -> bool:
        said = self.plain(value) if value is not None else False
        if value is not None and said is not _BAD and not isinstance(said, bool):
            self.note("'partial' is true or false", value.span, "true: only what fits is read")
        return said is True

    def text(self, key: str, value: Value | None) -> str:
        if value is None:
            return ""
        said = self.plain(value)
        if isinstance(said, str) and said:
            return said
        if said is not _BAD:
            self.note(f"'{key}' of the weights must be a text", value.span, f"for instance {key}: {_TEXTS[key]}")
        return ""

    def map(self, value: Value, prefix: str) -> WeightsMap | None:
        if not isinstance(value, Map) or is_choice(value) or not len(value):
            hint = "for instance {embed.weight: wte.weight, block.*.norm.*: h.*.ln_1.*}"
            self.note("'map' maps names of this model to names in the weights", value.span, hint)
            return None
        rules = []
        for pattern, said in value:
            take = self.take(said)
            stars = _stars(take)
            if stars > pattern.count("*"):
                has = f"'{pattern}' has {pattern.count('*')} '*', what it is made of has {stars}"
                self.note(has, said.span, "the k-th * of one side stands for the k-th of the other")
            rules.append(Rule(pattern, take, value.key_span(pattern)))
        return WeightsMap(tuple(rules), prefix)

    # -- what one tensor is made of ----------------------------------------------------------------------------------

    def take(self, value: Value) -> Take:
        if isinstance(value, Map) and not is_choice(value):
            return self.made(value)
        said = self.plain(value)
        if isinstance(said, str) and said:
            return Take(name=said, span=value.span)
        if said is not _BAD:
            self.note("a tensor of the weights is named, or made of named ones", value.span, _EXAMPLE)
        return Take(span=value.span)

    def made(self, value: Map) -> Take:
        known = (*SOURCES, *EDITS, "axis")
        for key in value.keys():
            if key not in known:
                hint = near(key, known) or f"keys: {', '.join(known)}"
                self.note(f"a tensor of the weights takes no '{key}'", value.key_span(key), hint)
        hows = [key for key in SOURCES if key in value]
        if len(hows) != 1:
            said = f"{' and '.join(hows)} exclude each other" if hows else f"it needs one of {', '.join(SOURCES)}"
            self.note(f"a tensor of the weights is made of one thing: {said}", value.span, _EXAMPLE)
            return Take(span=value.span)
        axis = self.axis(value, hows[0])
        edits = tuple(e for key in value.keys() if key in EDITS for e in self.edit(key, value.get(key), axis))
        if hows[0] == "from":
            inner = self.take(value.get("from"))
            return Take("from", "", (inner,), axis, edits, value.span)
        return Take(hows[0], "", self.parts(hows[0], value.get(hows[0])), axis, edits, value.span)

    def parts(self, how: str, value: Value) -> tuple[Take, ...]:
        if not isinstance(value, Seq) or len(value) < 2:
            self.note(f"'{how}' is a list of two tensors or more", value.span, f"for instance {how}: [q.*, k.*]")
            return ()
        return tuple(self.take(item) for item in value)

    def axis(self, value: Map, how: str) -> int:
        if "axis" not in value:
            return 0
        said, written = self.plain(value.get("axis")), value.get("axis")
        if how != "concat" and "chunk" not in value:
            self.note("'axis' belongs to concat or chunk", value.key_span("axis"), "remove it")
        elif type(said) is not int and said is not _BAD:
            self.note("'axis' must be a whole number", written.span, "axis 0 is the first")
        return said if type(said) is int else 0

    def edit(self, key: str, value: Value, axis: int) -> list[tuple[str, tuple[int, ...]]]:
        said = self.plain(value)
        if said is _BAD:
            return []
        if key == "transpose":
            if not isinstance(said, bool):
                self.note("'transpose' must be true or false", value.span, "it exchanges the last two axes")
            return [(key, ())] if said is True else []
        if not isinstance(said, list) or any(type(n) is not int for n in said) or not _fits(key, said):
            hint = f"for instance {key}: {_NUMBERS[key]}"
            self.note(f"'{key}' must be a list of {_WANTED[key]}", value.span, hint)
            return []
        return [(key, (*said, axis) if key == "chunk" else tuple(said))]


_TEXTS = {"file": "model.safetensors", "prefix": "transformer."}
_NUMBERS = {"chunk": "[0, 3]", "reshape": "[-1, 64]", "permute": "[1, 0, 2]"}


def _fits(key: str, numbers: list[int]) -> bool:
    """Whether these numbers can be those of an edit, whatever the tensor."""
    if key == "chunk":
        return len(numbers) == 2 and 0 <= numbers[0] < numbers[1]
    if key == "reshape":
        return len(numbers) > 0 and numbers.count(-1) <= 1 and all(n > 0 or n == -1 for n in numbers)
    return len(numbers) > 0 and sorted(numbers) == list(range(len(numbers)))


def _stars(take: Take) -> int:
    """The most wildcards in a name that a tensor is made of."""
    return max([take.name.count("*"), *(_stars(part) for part in take.parts)])
