"""The inputs and outputs of a model recipe: names, shapes, dtypes, nested mappings and lists, and modes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from assembler.errors import Problem, RecipeError, Span, near
from assembler.graph.core import TensorType
from assembler.graph.modes import MODES
from assembler.recipe.notes import note, note_all
from assembler.recipe.scope import resolve, vars_of
from assembler.recipe.values import Leaf, Map, Seq, Value
from assembler.registry import checks
from assembler.wiring.builder import Builder
from assembler.wiring.names import Names

BATCH = 2
"""The batch size that shapes are inferred with; a recipe writes `B`."""
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64")
_KEYS = {"inputs": ("shape", "dtype", "when"), "outputs": ("from", "when")}
"""What may be said of one input or output; a mapping of anything else nests."""


def inputs_of(tree: Map, problems: list[Problem]) -> dict[str, TensorType]:
    """The types of a model's inputs by name; nested ones have dotted names (`cache.k`)."""
    section = tree.get("inputs")
    if not isinstance(section, Map) or not len(section):
        span = tree.key_span("inputs") if "inputs" in tree else tree.span
        note(problems, "a model needs 'inputs'", span, "for instance inputs: {image: [B, 3, 32, 32]}")
        return {}
    scope = vars_of(tree)
    found = {}
    note_all(problems, _misnamed(section, "inputs"))
    for name, value in _leaves(section, "inputs"):
        try:
            found[name] = tensor_of(name, resolve(value, scope), value)
        except RecipeError as error:
            note_all(problems, error.at(value.span).problems)
            found[name] = TensorType((BATCH,))
    return found


def outputs_of(tree: Map, work: Builder, last: str) -> tuple[tuple[str, str], ...]:
    """(name, id) of what a model gives out; the last step's value where it does not say."""
    section = tree.get("outputs")
    if section is None:
        return (("output", last),)
    if isinstance(section, Leaf):
        section = Map((("output", section),), section.span)
    if not isinstance(section, Map) or not len(section):
        work.note("'outputs' must be a mapping of names to steps", section.span, "for instance {logits: head}")
        return (("output", last),)
    note_all(work.problems, _misnamed(section, "outputs"))
    return tuple((name, _output(name, value, work)) for name, value in _leaves(section, "outputs"))


def only_of(tree: Map, problems: list[Problem]) -> tuple[tuple[str, str], ...]:
    """(name, mode) of the inputs and outputs that say `when:`."""
    found: dict[str, str] = {}
    for what in ("inputs", "outputs"):
        section = tree.get(what)
        for name, value in _leaves(section, what) if isinstance(section, Map) else ():
            when = value.get("when") if isinstance(value, Map) else None
            if when is None:
                continue
            said = when.value if isinstance(when, Leaf) else None
            if said not in MODES:
                hint = near(str(said), MODES) or "train, or eval"
                note(problems, f"'when' is train or eval, not {checks.shown(said)}", when.span, hint)
            elif name in found:
                note(problems, f"an input of one mode is called '{name}' too", value.span, "rename the output")
            else:
                found[name] = str(said)
    return tuple(found.items())


def _leaves(section: Map | Seq, what: str, prefix: str = "") -> Iterator[tuple[str, Value]]:
    """(dotted name, value) of every single input or output."""
    pairs = section if isinstance(section, Map) else ((str(n), v) for n, v in enumerate(section))
    for key, value in pairs:
        if isinstance(value, Map | Seq) and _nests(value, what):
            yield from _leaves(value, what, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _misnamed(section: Map | Seq, what: str) -> Iterator[Problem]:
    """Keys that cannot be a part of a dotted name."""
    for key, value in section if isinstance(section, Map) else (("0", v) for v in section):
        if not re.fullmatch(r"[A-Za-z0-9_]+", key):
            hint = "a name has letters, digits and _" + f"; {what} nest as mappings, {{a: {{b: ...}}}}" * ("." in key)
            said = f"'{key}' cannot name an {what.removesuffix('s')}"
            yield Problem(said, section.key_span(key) if isinstance(section, Map) else section.span, hint=hint)
        if isinstance(value, Map | Seq) and _nests(value, what):
            yield from _misnamed(value, what)


def _nests(value: Map | Seq, what: str) -> bool:
    if isinstance(value, Map):
        meant = [k for k in value.keys() if k in _KEYS[what] or get_close_matches(k, _KEYS[what], cutoff=0.75)]
        return len(value) > 0 and not meant
    return len(value) > 0 and (what == "outputs" or not isinstance(value.items[0], Leaf))


def _output(name: str, value: Value, work: Builder) -> str:
    if isinstance(value, Map):
        for key in value.keys():
            if key not in _KEYS["outputs"]:
                work.note(f"output '{name}' takes no '{key}'", value.key_span(key), "write {from: head, when: train}")
        value = value.get("from") or value
    path = value.value if isinstance(value, Leaf) else None
    if not isinstance(path, str):
        work.note(f"output '{name}' must be the path of a step", value.span, "for instance {logits: head}")
        return ""
    if found := work.value_at(path, Names()):
        return found
    known = [*work.inputs, *work.names, *work.nodes]
    tops = dict.fromkeys(k.split(".")[0] for k in known)
    work.note(f"output '{name}' names '{path}', which is no step", value.span, near(path, known) or _list(tops))
    return ""


def tensor_of(name: str, said: Any, written: Value) -> TensorType:
    """The type that is written for an input, `said` being its plain value. Raises RecipeError."""
    dtype = "float32"
    if isinstance(said, dict):
        keys = written if isinstance(written, Map) else None  # or an expression for all of it
        unknown = [k for k in said if k not in _KEYS["inputs"]]
        if unknown:
            error = RecipeError(f"input '{name}' takes no '{unknown[0]}'", hint="write {shape: [B, 16], dtype: int64}")
            raise error.at(keys.key_span(unknown[0]) if keys else written.span)
        said, dtype = said.get("shape"), said.get("dtype", "float32")
        if dtype not in DTYPES:
            error = RecipeError(f"unknown dtype '{dtype}'", hint=near(str(dtype), DTYPES) or ", ".join(DTYPES))
            raise error.at(keys.get("dtype").span if keys else written.span)
        written = keys.get("shape", written) if keys else written
    if not isinstance(said, list) or not said:
        raise RecipeError(f"input '{name}' needs a shape", hint="for instance [B, 3, 32, 32]")
    if not isinstance(said[0], str):
        rest = ", ".join(["B", *(str(n) for n in said if not isinstance(n, str))])  # one axis is the batch
        error = RecipeError(
            f"axis 0 of input '{name}' is the batch, not {checks.shown(said[0])}", hint=f"write [{rest}]"
        )
        raise error.at(_axis(written, 0))
    shape = tuple(BATCH if i == 0 else d for i, d in enumerate(said))
    for axis, size in enumerate(shape):
        if isinstance(size, bool) or not isinstance(size, int):
            hint = "only axis 0, the batch, may be a letter"
            said_size = f"axis {axis} of input '{name}' must be a whole number, not {checks.shown(size)}"
            raise RecipeError(said_size, hint=hint).at(_axis(written, axis))
        if size < 1:
            raise RecipeError(f"axis {axis} of input '{name}' must be at least 1, not {size}").at(_axis(written, axis))
    return TensorType(shape, dtype)


def _axis(written: Value, axis: int) -> Span | None:
    return written.items[axis].span if isinstance(written, Seq) and axis < len(written) else written.span


def _list(names: Iterable[str]) -> str:
    return "there are " + ", ".join(list(names)[:12])
