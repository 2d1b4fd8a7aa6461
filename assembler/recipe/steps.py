"""A step after unrolling, and what may be said of a step and a block before it."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from assembler.errors import Problem, Span, near
from assembler.recipe.edits import graph_text
from assembler.recipe.paths import GROUPS, SECTIONS, STEP_KEYS
from assembler.recipe.scope import Scope, origin
from assembler.recipe.values import Leaf, Map, Seq, Value
from assembler.recipe.weights import Weights

BAD_OP = "<bad>"
"""Stands for the op of a step that has none; that is noted already."""
BLOCK_KEYS = ("params", "inputs", "depth", "body", "outputs", "doc")
MODEL_KEYS = ("extends", "graph", "edits", "outputs", "weights", "vars", "blocks", "initializers", "name", "doc")
"""What a block may say that is an imported model."""
_SECTIONS = {"vars": "{dim: 64}", "scales": "{small: {dim: 32}}", "blocks": "{block: {body: {norm: layer_norm}}}"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Step:
    """A step after unrolling. `kind` is "op", "chain" (steps one after another), "residual", "branches", "nested" or
    "model" (all of an imported model, whose recipe is `model`).

    `source` is None (the previous step), a path, a list of paths or a dict of input name to path. `body` holds the
    steps inside (of a nested step, those of the op's sub-graph); `shortcut` those of a residual's other arm; `merge`
    joins branches; `inputs` are a block's, a `?` behind those that a call may leave out; `outputs` pairs names with the
    steps inside that they give out; `share` is the path (or the mapping of parameters to paths) of the weights to use;
    `weights` are those that it begins with. A step that is `left_out` by its `if` passes its input on. `args` are
    evaluated. `written` is the step as the recipe has it, read in `scope`; `named` is where its name stands.
    """

    path: str
    kind: str
    op: str = ""
    args: tuple[tuple[str, Any], ...] = ()
    source: Any = None
    body: tuple[Step, ...] = ()
    shortcut: tuple[Step, ...] = ()
    merge: tuple[str, tuple[tuple[str, Any], ...]] = ("", ())
    inputs: tuple[str, ...] = ()
    outputs: tuple[tuple[str, Leaf], ...] = ()
    share: Any = None
    frozen: bool = False
    left_out: bool = False
    weights: Weights | None = None
    model: Map | None = None
    span: Span | None = field(default=None, compare=False)
    named: Span | None = field(default=None, compare=False)
    written: Map = field(default=Map(), compare=False, repr=False)
    scope: Scope = field(default=Scope(), compare=False, repr=False)

    @property
    def name(self) -> str:
        """The step's own name: the last part of the path that is no copy's number."""
        return name_of(self.path)

    def key_span(self, *keys: str) -> Span | None:
        """Where the name of an argument (or of one inside it) is written."""
        owner = self._at(keys[:-1])
        found = owner.key_span(keys[-1]) if isinstance(owner, Map) and keys[-1] in owner else None
        return found or self.span

    def value_span(self, *keys: str) -> Span | None:
        """Where the value of an argument (or of one inside it) is written, be it as a block's parameter."""
        found = self._at(keys)
        return (origin(found, self.scope) if found is not None else None) or self.span

    def _at(self, keys: tuple[str, ...]) -> Value | None:
        here: Value | None = self.written
        for key in keys:
            if isinstance(here, Leaf):
                return here  # a short form, `from: a` for `from: [a]`
            if isinstance(here, Seq) and key.isdigit() and int(key) < len(here):
                here = here.items[int(key)]
            else:
                here = here.get(key) if isinstance(here, Map) else None
        return here


def name_of(path: str) -> str:
    """The last part of a path that is no copy's number."""
    return next((part for part in reversed(path.split(".")) if not part.isdigit()), path)


def bad_name(name: str, *, top: bool) -> tuple[str, str] | None:
    """Why a step may not bear that name, and a hint."""
    taken = (*STEP_KEYS, *GROUPS, *((*SECTIONS, "set") if top else ()))
    if name in taken:
        return f"'{name}' cannot name a step, the language has that word", f"for instance {name}_1"
    if not _NAME.fullmatch(name):
        fixed = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")
        fixed = f"n{fixed}" if fixed[:1].isdigit() else fixed
        hint = "a name has letters, digits and _, and starts with no digit"
        hint = f"a path goes under set:, or as steps in a body:; {hint}" if "." in name else hint
        hint += f"; for instance {fixed}" if fixed else ""
        return f"'{name}' cannot name a step", hint
    return None


def check_sections(tree: Map) -> Iterator[Problem]:
    """What is wrong with the names of vars and with blocks as a whole, whether or not a step uses them."""
    for key, example in _SECTIONS.items():
        value = tree.get(key)
        if value is not None and not isinstance(value, Map) and value != Leaf(None):
            yield Problem(f"'{key}' must be a mapping", value.span, hint=f"for instance {key}: {example}")
    for section, what in (("vars", "a var"), ("blocks", "a block")):
        found = tree.get(section)
        for name in found.keys() if isinstance(found, Map) else ():
            if not name.isidentifier() or keyword.iskeyword(name):
                hint = "a name has letters, digits and _, starts with no digit, and is no word of Python"
                yield Problem(f"'{name}' cannot name {what}", found.key_span(name), hint=hint)
    blocks = tree.get("blocks")
    for name, block in blocks if isinstance(blocks, Map) else ():
        span = blocks.key_span(name)
        if name in ("residual", "branches"):
            yield Problem(f"'{name}' cannot name a block, the language has that word", span)
        elif isinstance(block, Map):
            yield from _check_model(name, block) if graph_text(block) else _check_block(name, block, span)
        else:
            yield Problem(
                f"block '{name}' must be a mapping", block.span, hint="for instance {body: {norm: layer_norm}}"
            )


def _check_model(name: str, block: Map) -> Iterator[Problem]:
    for key in block.keys():
        if key not in MODEL_KEYS:
            hint = near(key, MODEL_KEYS) or f"it takes {', '.join(MODEL_KEYS)}"
            yield Problem(f"block '{name}', a model, takes no '{key}'", block.key_span(key), hint=hint)


def _check_block(name: str, block: Map, span: Span | None) -> Iterator[Problem]:
    for key in block.keys():
        if key not in BLOCK_KEYS:
            hint = near(key, BLOCK_KEYS) or f"it takes {', '.join(BLOCK_KEYS)}"
            yield Problem(f"block '{name}' takes no '{key}'", block.key_span(key), hint=hint)
    body, params, inputs = block.get("body"), block.get("params", Map()), block.get("inputs", Seq())
    if not isinstance(body, Map) or not len(body):
        place = body.span if body is not None else span
        yield Problem(
            f"block '{name}' needs a 'body', a mapping of steps", place, hint="for instance body: {norm: layer_norm}"
        )
    if not isinstance(params, Map):
        hint = "for instance params: {ratio: 4, mixer: null}; null is for what every call must give"
        yield Problem("'params' must be a mapping of names to defaults", params.span, hint=hint)
    for param in params.keys() if isinstance(params, Map) else ():
        if param in STEP_KEYS or not param.isidentifier() or keyword.iskeyword(param):
            yield Problem(f"'{param}' cannot name a parameter", params.key_span(param), hint="choose another name")
    if not isinstance(inputs, Seq) or not all(isinstance(i, Leaf) and isinstance(i.value, str) for i in inputs):
        hint = "for instance [x, context, mask?]; ? is behind what a call may leave out"
        yield Problem("'inputs' of a block is a list of names", inputs.span, hint=hint)
    yield from check_outputs(block.get("outputs"))


def check_outputs(value: Value | None) -> Iterator[Problem]:
    """What is wrong with the outputs that a block or a sub-graph names."""
    if value is None:
        return
    pairs = tuple(value) if isinstance(value, Map) else ()
    if (
        not isinstance(value, Map)
        or not pairs
        or not all(isinstance(v, Leaf) and isinstance(v.value, str) for _, v in pairs)
    ):
        said = "'outputs' of steps is a mapping of names to steps inside"
        yield Problem(said, value.span, hint="for instance {y: last, mask: drop.mask}")
        return
    for name, _ in pairs:
        if not name.isidentifier():
            yield Problem(f"'{name}' cannot name an output", value.key_span(name), hint="letters, digits and _")
