"""The symbolic recipe: a PyGlove value whose paths are the recipe's paths.

`rebind`, `pg.query`, `pg.diff`, `pg.patch`, `pg.dna_spec` and `pg.sample` work on it. Its tree leaves out the containers
that only group (`graph`, `body`), so `stage.block.mixer` is one path in YAML, PyGlove, `state_dict` and logs.
"""

from __future__ import annotations

from typing import Any

import pyglove as pg

from assembler.recipe.choices import Space, space
from assembler.recipe.document import Document
from assembler.recipe.paths import SECTIONS, STEP_KEYS
from assembler.recipe.spread import spread
from assembler.recipe.values import Map, marked
from assembler.symbolic.hyper import from_hyper, to_hyper


@pg.members([(pg.typing.StrKey(), pg.typing.Any())])
class Recipe(pg.Object):  # type: ignore[misc]
    """A model recipe as a mutable symbolic value. `assembler.load` makes one; `assembler.build` compiles it.

    >>> recipe.rebind({"stage.block.mixer": pg.oneof(["pool", "attention"])})   # now it is a search space
    """

    allow_symbolic_assignment = True

    def rebind(self, *args: Any, **kwargs: Any) -> Recipe:
        """PyGlove's `rebind`, for recipe paths: one copy (`stage.2.block.mixer`) and `*` (each copy) are allowed too."""
        if not args or not isinstance(args[0], dict):
            super().rebind(*args, **kwargs)
            return self
        changes: dict[str, Any] = {}
        for path, value in args[0].items():
            concrete = spread(tree(self), path) if isinstance(path, str) and "*" in path else [path]
            changes |= {p: value if i == 0 else pg.clone(value, deep=True) for i, p in enumerate(concrete)}
        for path in changes:
            if isinstance(path, str):
                self._make_way(path.split("."))
        super().rebind(changes, *args[1:], **kwargs)
        return self

    def _make_way(self, parts: list[str]) -> None:
        """Create the mappings that a path goes through: what is said of one copy has no place until it is said."""
        here: Any = self
        for i, part in enumerate(parts[:-1]):
            if i == 0 and not here.sym_hasattr(part):
                return  # PyGlove names the unknown step
            if isinstance(here, pg.List):
                return
            if not here.sym_hasattr(part):
                here.rebind({part: pg.Dict()}, raise_on_no_change=False)
            here = here.sym_getattr(part)

    @property
    def space(self) -> Space:
        """The decisions that are open in this recipe."""
        return space(tree(self))


def symbolic(document: Document) -> Recipe:
    """The symbolic form of a loaded recipe's model."""
    return Recipe(**_flat(document.model.set("name", marked(document.name))))


def tree(recipe: Recipe) -> Map:
    """The recipe tree (as read from YAML) that a symbolic recipe stands for; open choices become `$oneof` and so on."""
    sections, steps = {}, {}
    for key in recipe.sym_keys():
        value = from_hyper(recipe.sym_getattr(key))
        if key == "blocks":
            sections[key] = {name: _unflat(block, ("params", "inputs")) for name, block in value.items()}
        elif key in SECTIONS or key == "set":
            sections[key] = value
        else:
            steps[key] = _unflat_step(value)
    found = marked({**sections, "graph": steps})
    assert isinstance(found, Map)
    return found


def _flat(model: Map) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in model:
        if key == "graph" and isinstance(value, Map):
            found |= {name: to_hyper(_flat_step(step)) for name, step in value}
        elif key == "blocks" and isinstance(value, Map):
            found[key] = to_hyper({name: _flat_step(block) for name, block in value})
        else:
            found[key] = to_hyper(value)
    return found


def _flat_step(step: Any) -> Any:
    """A step with the steps of its body beside its own keys."""
    if not isinstance(step, Map):
        return {"op": step}
    if "body" not in step or not isinstance(step.get("body"), Map):
        return step
    inside = {name: _flat_step(s) for name, s in step.get("body")}
    shortcut = step.get("shortcut")
    extra = {"shortcut": {n: _flat_step(s) for n, s in shortcut}} if isinstance(shortcut, Map) else {}
    return {**dict(step.drop("body", "shortcut").items), **extra, **inside}


def _unflat_step(step: Any) -> Any:
    """The inverse: in a step without op, a residual or branches, what is no step key (or copy number) is its body."""
    if not isinstance(step, dict) or any(k.startswith("$") for k in step):
        return step
    if "shortcut" in step and isinstance(step["shortcut"], dict):
        step = {**step, "shortcut": {n: _unflat_step(s) for n, s in step["shortcut"].items()}}
    if "op" in step and step["op"] not in ("residual", "branches"):
        return step
    return _unflat(step, STEP_KEYS)


def _unflat(step: dict[str, Any], own: tuple[str, ...]) -> dict[str, Any]:
    kept = {k: v for k, v in step.items() if k in own or k.isdigit()}
    inside = {k: _unflat_step(v) for k, v in step.items() if k not in kept}
    return {**kept, "body": inside}
