"""Recipe paths: one dotted name for a place, the same in YAML, `-o`, PyGlove, Optuna, `state_dict` and logs.

The containers that only group (`graph:` at the top, `body:` in a step) are left out of a path:
`stage.block.mixer` is `graph -> stage -> body -> block -> mixer`. A number after a repeated step is that copy alone
(`stage.2.block.mixer`); what is said of one copy is kept beside the step's body, under the number.
"""

from __future__ import annotations

from assembler.errors import Problem, RecipeError, near
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice

GROUPS = ("graph", "body")
SECTIONS = ("kind", "version", "name", "doc", "extends", "vars", "scales", "inputs", "blocks", "graph", "outputs")
STEP_KEYS = ("op", "from", "for", "repeat", "merge", "body", "shortcut")


def join(path: str, key: str) -> str:
    """`path.key`, leaving out the keys that only group."""
    if key in GROUPS:
        return path
    return f"{path}.{key}" if path else key


def is_container(step: Map) -> bool:
    """Whether a step holds other steps: it has a body, or is a residual or branches."""
    op = step.get("op")
    return "body" in step or (isinstance(op, Leaf) and op.value in ("residual", "branches"))


def get(tree: Map, path: str) -> Value | None:
    """The value at a path, or None."""
    here: Value = tree
    for i, part in enumerate(path.split(".")):
        found = _child(here, part, top=i == 0)
        if found is None:
            return None
        here = found
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


def put(tree: Map, path: str, value: Value) -> Map:
    """The tree with `value` at `path`; a null removes what is there.

    Raises RecipeError where the first part of the path names nothing.
    """
    parts = path.split(".")
    group = tree.get("graph")
    if not all(parts):
        raise RecipeError(Problem(f"'{path}' is not a path", value.span, hint="for instance stage.2.block.mixer"))
    if parts[0] not in tree and parts[0] not in SECTIONS and isinstance(group, Map) and parts[0] not in group:
        known = [*group.keys(), *tree.keys()]
        hint = near(parts[0], known) or "there are " + ", ".join(known)
        raise RecipeError(Problem(f"'{path}': the recipe has no '{parts[0]}'", value.span, hint=hint))
    change = value
    for part in reversed(parts):
        change = Map(((part, change),), value.span)
    patched = patch(tree, change, group="graph")
    assert isinstance(patched, Map)
    return patched


def patch(base: Value | None, change: Value, *, group: str = "body") -> Value:
    """`change` laid over `base` by name: mappings merge, null deletes, all else replaces.

    A key that names a step of the base's body goes to that step. A step that is given another op is replaced, since
    the arguments of the old one are not its own. Lists are changed by index (`{"0": 3}`).
    """
    if isinstance(base, Leaf) and isinstance(base.value, str) and isinstance(change, Map) and not is_choice(change):
        base = Map((("op", base),), base.span)  # `norm: layer_norm` is short for `norm: {op: layer_norm}`
    if isinstance(base, Seq) and isinstance(change, Map) and not is_choice(change):
        return _patch_seq(base, change)
    if not (isinstance(base, Map) and isinstance(change, Map)) or is_choice(base) or is_choice(change):
        return change
    if "op" in change and "op" in base and base.get("op") != change.get("op"):
        return Map((*((k, v) for k, v in base if k in ("from", "for", "repeat")), *change.drop("from")), base.span)
    for key, value in change:
        inside = base.get(group)
        if isinstance(inside, Map) and key in inside and key not in (*STEP_KEYS, *SECTIONS):
            base = base.set(group, patch(inside, Map(((key, value),), change.span)))
        elif isinstance(value, Leaf) and value.value is None:
            base = base.drop(key)
        else:
            base = base.set(key, patch(base.get(key), value))
    return base


def _patch_seq(base: Seq, change: Map) -> Seq:
    items = list(base.items)
    for key, value in change:
        if not key.isdigit() or int(key) >= len(items):
            raise RecipeError(Problem(f"'{key}' is not one of 0 to {len(items) - 1}", value.span or change.span))
        items[int(key)] = patch(items[int(key)], value)
    return Seq(tuple(items), base.span)
