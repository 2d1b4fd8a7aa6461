"""Recipe paths: one dotted name for a place, the same in YAML, `-o`, PyGlove, Optuna, `state_dict` and logs.

The containers that only group (`graph:` at the top, `body:` in a step) are left out of a path:
`stage.block.mixer` is `graph -> stage -> body -> block -> mixer`. A number after a repeated step is that copy alone
(`stage.2.block.mixer`); what is said of one copy is kept beside the step's body, under the number.
"""

from __future__ import annotations

import re
from dataclasses import replace

from assembler.errors import Problem, RecipeError, Span, near
from assembler.recipe.edits import AFTER, EDITS, edits_text, graph_text, laid
from assembler.recipe.inserting import comes_after, inserted, read_instead
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice

GROUPS = ("graph", "body")
SECTIONS = (
    "kind",
    "version",
    "name",
    "doc",
    "paper",
    "extends",
    "vars",
    "scales",
    "inputs",
    "blocks",
    "graph",
    "edits",
    "outputs",
    "weights",
    "initializers",
    "claims",
    "where",
    "moves",
)
_COMMON = ("kind", "version", "name", "doc", "paper", "extends", "set")
PAPER = ("title", "source", "family", "seed")
"""What `paper:` says of the work that a recipe is after; `seed` is its number among the papers that we began with."""
KEYS = {
    "model": (*SECTIONS, "set"),
    "space": (*_COMMON, "base", "choose", "where", "moves", "search", "claims"),
    "run": (
        *_COMMON,
        "model",
        "space",
        "split",
        "data",
        "train",
        "task",
        "metric",
        "seeds",
        "phases",
        "claims",
        "lock",
    ),
}
"""What each kind of recipe may hold at its top."""
STEP_KEYS = (
    "op",
    "from",
    "for",
    "repeat",
    "merge",
    "body",
    "shortcut",
    "outputs",
    "share",
    "frozen",
    "initializers",
    "weights",
    "if",
)
_NAMED = ("data", "task", "train", "search", "phases")
"""Sections in which a bare word is short for `{name: word}`; in steps it is short for `{op: word}`."""
_WORDS = re.compile(r"[\w.*-]*")
_EXAMPLE = "for instance stage.2.block.mixer"


def join(path: str, key: str) -> str:
    """`path.key`, leaving out the keys that only group."""
    if key in GROUPS or (key == EDITS and not path):
        return path
    return f"{path}.{key}" if path else key


def get(tree: Map, path: str) -> Value | None:
    """The value at a path, or None."""
    if isinstance(edits := tree.get(EDITS), Map) and path in edits:
        found: Value = edits.get(path)
        return found
    here: Value = tree
    for i, part in enumerate(path.split(".")):
        inner = _child(here, part, top=i == 0)
        if inner is None:
            return None
        here = inner
    return here


def _child(value: Value, part: str, *, top: bool) -> Value | None:
    if isinstance(value, Seq):
        return value.items[int(part)] if part.isdigit() and int(part) < len(value) else None
    if not isinstance(value, Map):
        return None
    if part in value:
        found: Value = value.get(part)
        return found
    group = value.get("graph" if top else "body")
    return group.get(part) if isinstance(group, Map) else None


def put(tree: Map, path: str, value: Value, span: Span | None = None) -> Map:
    """The tree with `value` at `path`, which is written at `span`; a null removes what is there.

    A mapping changes a mapping key by key and a list by index; where it names no items it stands in the list's place.
    A step with `after:` is put behind another.
    Raises RecipeError where the path leads nowhere.
    """
    parts = path.split(".")
    if edits_text(tree, path, _sections(tree)):
        return laid(tree, path, value, span or value.span)
    spans = part_spans(path, span or value.span)
    if not (len(parts) == 1 and comes_after(value)):  # which is no step yet
        check(tree, path, span or value.span)
    if _instead(get(tree, path), value):
        tree = put(tree, path, Leaf(None, value.span), span)
    change = value
    for part, place in zip(reversed(parts), reversed(spans), strict=True):
        change = Map(((part, change),), place, (place,))
    patched = patch(tree, change, group="graph")
    assert isinstance(patched, Map)
    return patched


def _instead(there: Value | None, value: Value) -> bool:
    """Whether a mapping is laid over a list and changes no items of that."""
    laid_over = isinstance(there, Seq) and isinstance(value, Map) and not is_choice(value)
    return laid_over and isinstance(value, Map) and len(value) > 0 and not any(key.isdigit() for key in value.keys())


def part_spans(path: str, span: Span | None) -> list[Span | None]:
    """Where each part of a path stands, given where the path is written; `span` itself where its text is another."""
    parts = path.split(".")
    written = "" if span is None else span.text[span.column - 1 :]
    at = 1 if written[:1] in ("'", '"') else 0
    words = _WORDS.match(written, at)
    if span is None or words is None or len(words[0].split(".")) != len(parts):
        return [span] * len(parts)
    found: list[Span | None] = []
    for part in words[0].split("."):
        found.append(replace(span, column=span.column + at, width=len(part)))
        at += len(part) + 1
    return found


def check(tree: Map, path: str, span: Span | None) -> None:
    """Raise RecipeError where the first part (or the name of a var, block or input) is not there to be changed."""
    parts, spans = path.split("."), part_spans(path, span)
    if not all(parts):
        raise RecipeError(Problem(f"'{path}' is not a path", span, hint=_EXAMPLE))
    here = tree
    for depth, part in enumerate(parts[:2]):
        inside = here.get("graph") if depth == 0 else None
        known = [*(inside.keys() if isinstance(inside, Map) else []), *here.keys()]
        if part not in known and not (depth == 0 and part in _sections(tree)):
            what = "the recipe" if depth == 0 else f"'{parts[0]}'"
            said = list(dict.fromkeys([*known, *_vars(tree)])) if depth == 0 else known
            nearest = _nearest(part, said, tree) if depth == 0 else near(part, said)
            hint = nearest or f"there {'is' if len(said) == 1 else 'are'} {', '.join(said)}"
            raise RecipeError(Problem(f"{what} has no '{part}'", spans[depth], hint=hint))
        found = here.get(part)
        model = "inputs" in tree or graph_text(tree)
        if part == "vars" and found is None and len(parts) > 1 and model:  # a var that nothing would read
            hint = "the sizes of an imported model are those of its steps" if graph_text(tree) else ""
            raise RecipeError(Problem("the recipe has no vars", spans[0], hint=hint))
        if part not in ("vars", "blocks", "inputs") or not isinstance(found, Map):
            return
        here = found


def _sections(tree: Map) -> tuple[str, ...]:
    kind = tree.get("kind")
    return KEYS.get(str(kind.value), SECTIONS) if isinstance(kind, Leaf) else SECTIONS


def _vars(tree: Map) -> list[str]:
    section = tree.get("vars")
    return [f"vars.{name}" for name in section.keys()] if isinstance(section, Map) else []


def _nearest(part: str, known: list[str], tree: Map) -> str:
    if f"vars.{part}" in _vars(tree):
        return f"did you mean 'vars.{part}'?"
    return near(part, known) or near(f"vars.{part}", _vars(tree))


def patch(base: Value | None, change: Value, *, group: str = "body", short: str = "op") -> Value:
    """`change` laid over `base` by name: mappings merge, null deletes, all else replaces.

    A key that names a step of the base's body goes to that step. A step that is given another op, or steps in the place
    of one, is replaced, since the arguments of the old one are not its own; `short` is the key that says so. What it
    reads stays. Lists are changed by index (`{"0": 3}`): null removes an item, the next index is one more.
    """
    if isinstance(base, Leaf) and isinstance(base.value, str) and isinstance(change, Map) and not is_choice(change):
        base = Map(((short, base),), base.span)  # `norm: layer_norm` is short for `norm: {op: layer_norm}`
    if isinstance(base, Seq) and isinstance(change, Map) and not is_choice(change):
        return _patch_seq(base, change)
    if isinstance(base, Map) and short in base and isinstance(change, Leaf) and isinstance(change.value, str):
        change = Map.short(short, change)
    if not (isinstance(base, Map) and isinstance(change, Map)) or is_choice(base) or is_choice(change):
        return change
    if _other(base, change, short):
        kept = base.drop(*(k for k in base.keys() if k not in ("from", "for", "repeat") or k in change))
        return Map(kept.items + change.items, change.span or base.span, _key_spans(kept) + _key_spans(change))
    if group == "graph" and graph_text(base) and isinstance(steps := change.get(group), Map):
        for path, value in steps:
            base = laid(base, path, value, steps.key_span(path), new=True)
        change = change.drop(group)
    for key, value in change:
        base = _patch_key(base, key, value, change.key_span(key), group, short)
    return base


def _patch_key(base: Map, key: str, value: Value, span: Span | None, group: str, short: str) -> Map:
    """One entry of a mapping laid over another mapping."""
    inside = base.get(group)
    if comes_after(value):
        if key not in (inside if isinstance(inside, Map) else base):
            return _inserted(base, group, key, value, span)
        value = value.drop(AFTER)  # it stands there already
    if key == group and isinstance(inside, Map) and isinstance(value, Map):
        for name, new in value:
            if comes_after(new):
                base = _patch_key(base, name, new, value.key_span(name), group, short)
                value = value.drop(name)
    if isinstance(inside, Map) and key in inside and key not in (*STEP_KEYS, *SECTIONS):
        return base.set(group, patch(inside, Map(((key, value),), span, (span,))))
    if isinstance(value, Leaf) and value.value is None:
        return base.drop(key)
    inner = "name" if group == "graph" and key in _NAMED else short
    return _set(base, key, patch(base.get(key), value, short=inner), span)


def _other(base: Map, change: Map, short: str) -> bool:
    """Whether a change makes another step of one: of another op, or of a body where an op without one was."""
    if short in change:
        return short in base and base.get(short) != change.get(short)
    return short in base and "body" in change and "body" not in base


def _inserted(base: Map, group: str, name: str, value: Map, span: Span | None) -> Map:
    """`base`, a container or the steps themselves, with one more step in the midst."""
    if not isinstance(inside := base.get(group), Map):
        return inserted(base, name, value, span)
    base = base.set(group, inserted(inside, name, value, span))
    made, old = base.get("outputs"), str(value.get(AFTER).value)
    return base.set("outputs", read_instead(made, old, name)) if made is not None else base


def _key_spans(value: Map) -> tuple[Span | None, ...]:
    return value.key_spans or (None,) * len(value)


def _set(base: Map, key: str, value: Value, span: Span | None) -> Map:
    """`base` with `key` set, a new key being written at `span`."""
    if key in base:
        return base.set(key, value)
    return Map((*base.items, (key, value)), base.span, (*_key_spans(base), span))


def _patch_seq(base: Seq, change: Map) -> Seq:
    items: list[Value | None] = list(base.items)
    for key, value in change:
        if not key.isdigit() or int(key) > len(items):
            has = f"its items are 0 to {len(items) - 1}" if items else "it is empty"
            raise RecipeError(Problem(f"the list has no item '{key}'", change.key_span(key) or change.span, hint=has))
        items[int(key) :] = [_item(items, int(key), value), *items[int(key) + 1 :]]
    return Seq(tuple(item for item in items if item is not None), base.span)


def _item(items: list[Value | None], at: int, value: Value) -> Value | None:
    """An item of a list with a change laid over it, None where that is a null."""
    if isinstance(value, Leaf) and value.value is None:
        return None
    return patch(items[at] if at < len(items) else None, value)
