"""Everything that is wrong with a model or a space, its choices, scales and unused parts as well; torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from assembler.errors import Problem, RecipeError
from assembler.recipe.blocks import unknown_parameters
from assembler.recipe.choices import decide, first, space
from assembler.recipe.document import Document, scale_changes
from assembler.recipe.document import changed as with_changes
from assembler.recipe.expressions import parse
from assembler.recipe.notes import in_order, note, note_all
from assembler.recipe.paths import STEP_KEYS
from assembler.recipe.scope import OPEN, vars_of
from assembler.recipe.steps import Step, bad_name
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice, plain
from assembler.recipe.weights import weights_of
from assembler.registry import Entry
from assembler.registry.types import ANY
from assembler.wiring.build import draft
from assembler.wiring.builder import Builder

MOST_BUILDS = 300
MOST_STEPS = 20_000  # what a second is enough for


def lint(document: Document) -> list[Problem]:
    """What is wrong with the model that a document is about: each mistake once, in the order of the file.

    The model is built with the first candidates of all choices, then so that every other candidate is built once too,
    and in its scales, `MOST_BUILDS` times or until `MOST_STEPS` steps were built; then what no build reaches is read
    as it stands.
    """
    problems = list(document.problems)
    model = document.model
    if len(model) or document.kind == "model":  # an empty one stands for a base that cannot be read
        _scales(model, problems, _builds(model, problems))
        _vars(model, problems)
        _weights(model, problems)
        _unreached(model, problems)
    return in_order(problems, str(document.file or ""))


def _builds(model: Map, problems: list[Problem]) -> int:
    """Note what is wrong with the builds of a model; returns how many steps that took."""
    malformed: list[Problem] = []
    decisions = space(model, malformed)
    note_all(problems, malformed)
    steps = 0
    for count, choice in enumerate(decisions.covering()):
        found: list[Problem] = []
        steps += len(draft(decide(model, choice), found))
        # a malformed choice stays open, which needs no words of its own
        note_all(problems, (p for p in found if not malformed or p.message != OPEN))
        if count + 1 >= MOST_BUILDS or steps > MOST_STEPS:
            break
    return steps


def _scales(model: Map, problems: list[Problem], steps: int) -> None:
    scales = model.get("scales")
    for scale, changes in scales if isinstance(scales, Map) else ():
        if not isinstance(changes, Map):
            note(problems, f"scale '{scale}' must be a mapping", changes.span, "for instance {dim: 96, depth: 12}")
            continue
        try:
            scaled = with_changes(model, scale_changes(model, scale))
            if len(changes) and steps <= MOST_STEPS:
                steps += len(draft(first(scaled, space(scaled, [])), problems))
        except RecipeError as error:
            note_all(problems, error.problems)


def _vars(model: Map, problems: list[Problem]) -> None:
    scope = vars_of(first(model, space(model, [])))
    for name in scope:
        try:
            scope[name]
        except RecipeError as error:
            note_all(problems, (p for p in error.problems if p.message != OPEN))


def _weights(model: Map, problems: list[Problem]) -> None:
    try:
        weights_of(first(model, space(model, [])))
    except RecipeError as error:
        note_all(problems, error.problems)


# -- what no copy reaches: blocks that nothing calls, bodies repeated no times --------------------------------------


def _unreached(model: Map, problems: list[Problem]) -> None:
    blocks = model.get("blocks")
    known = {n: b for n, b in blocks if isinstance(b, Map)} if isinstance(blocks, Map) else {}
    builder = Builder({}, problems, blocks)
    for name, body, top in _bodies(model):
        for key, value in body:
            wrong = bad_name(key, top=top)
            if wrong and not (key.isdigit() and name):
                note(problems, wrong[0], body.key_span(key), wrong[1])
            elif not is_choice(value):
                _read_step(key, value, known, builder)
    for value in (model.get("graph"), blocks):
        _expressions(value, problems)


def _bodies(model: Map) -> Iterator[tuple[str, Map, bool]]:
    """(name of the owner, body, whether it is the graph itself) of everything that holds steps."""
    waiting: list[tuple[str, Value | None, bool]] = [("", model.get("graph"), True)]
    blocks = model.get("blocks")
    waiting += [(n, b.get("body"), False) for n, b in blocks if isinstance(b, Map)] if isinstance(blocks, Map) else []
    while waiting:
        name, body, top = waiting.pop()
        if not isinstance(body, Map) or is_choice(body):
            continue
        yield name, body, top
        for key, step in body:
            if isinstance(step, Map) and not is_choice(step):
                waiting += [(key, step.get(inner), False) for inner in ("body", "shortcut")]


def _read_step(name: str, value: Value, blocks: dict[str, Map], builder: Builder) -> None:
    """Check what can be told of a step without its scope: the op's name, the arguments' names and plain values."""
    if isinstance(value, Leaf):
        value = Map((("op", value),), value.span, (value.span,))
    op = value.get("op") if isinstance(value, Map) else None
    said = op.value if isinstance(op, Leaf) else None
    if not isinstance(value, Map) or not isinstance(said, str) or said.startswith("="):
        return
    if "for" in value or "repeat" in value:
        value = value.drop(*(k for k in value.keys() if k.isdigit()))
    step = Step(name, "op", said, span=value.span, written=value)
    if said in blocks:
        note_all(builder.problems, unknown_parameters(said, blocks[said], value))
    elif said not in ("residual", "branches") and (entry := builder.entry(step)):
        given = {k: v for k, v in value if k not in STEP_KEYS}
        builder.args(step, _loose(entry, given), {k: plain(v) for k, v in given.items()})


def _loose(entry: Entry, given: dict[str, Value]) -> Entry:
    """The entry with any value allowed where what is given is not known before it is evaluated."""
    later = [k for k, v in given.items() if _is_dynamic(v)]
    return replace(entry, params=tuple(replace(p, type=ANY) if p.name in later else p for p in entry.params))


def _is_dynamic(value: Value) -> bool:
    if isinstance(value, Leaf):
        return isinstance(value.value, str) and value.value.startswith("=")
    return isinstance(value, Map) or any(_is_dynamic(v) for v in value)


def _expressions(value: Value | None, problems: list[Problem]) -> None:
    """Parse every expression, evaluated or not."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Map):
            waiting += [v for _, v in here]
        elif isinstance(here, Seq):
            waiting += list(here)
        elif isinstance(here, Leaf) and isinstance(here.value, str) and here.value.startswith("="):
            try:
                parse(here.value, here.span)
            except RecipeError as error:
                note_all(problems, error.problems)
