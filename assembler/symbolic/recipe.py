"""The symbolic recipe: a PyGlove value whose paths are the recipe's paths.

`rebind`, `pg.query`, `pg.diff`, `pg.patch`, `pg.dna_spec` and `pg.sample` work on it. Its tree leaves out the
containers that only group (`graph`, `body`), so `stage.block.mixer` is one path in YAML, PyGlove and logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyglove as pg

from assembler import registry
from assembler.errors import Problem, RecipeError, near
from assembler.recipe.choices import Choice, Decision, Pick, Space, decide, space
from assembler.recipe.choices.counting import Tree
from assembler.recipe.choices.vector import decoded, encoded
from assembler.recipe.document import Document
from assembler.recipe.edits import EDITS, edits_text, laid
from assembler.recipe.paths import SECTIONS, STEP_KEYS
from assembler.recipe.spread import spread
from assembler.recipe.steps import BLOCK_KEYS
from assembler.recipe.values import Map, marked
from assembler.symbolic.hyper import from_hyper, to_hyper


@pg.members([(pg.typing.StrKey(), pg.typing.Any())])
class Recipe(pg.Object):  # type: ignore[misc]
    """A model recipe as a mutable symbolic value. `assembler.load` makes one; `assembler.build` compiles it.

    >>> recipe.rebind({"stage.block.mixer": pg.oneof(["pool", "attention"])})   # now it is a search space
    """

    allow_symbolic_assignment = True
    _folder = Path()
    _search: Map | None = None

    def at(self, folder: Path, search: Map | None = None) -> Recipe:
        """This recipe, the files that it names being in `folder`, searched as a `search:` section says."""
        self._folder, self._search = folder, search
        return self

    def _sym_clone(self, deep: bool, memo: Any = None) -> Recipe:
        found: Recipe = super()._sym_clone(deep, memo)
        return found.at(self._folder, self._search)

    @property
    def home(self) -> Path:
        """Where the files are that the recipe names."""
        return self._folder

    @property
    def searching(self) -> Map | None:
        """How the space that it was loaded from says that it is searched."""
        return self._search

    def rebind(
        self,
        changes: Any = None,
        *,
        raise_on_no_change: bool = True,
        notify_parents: bool = True,
        skip_notification: bool | None = None,
        **more: Any,
    ) -> Recipe:
        """PyGlove's `rebind`, for recipe paths: one copy (`stage.2.block.mixer`) and `*` (each copy) are allowed too.

        Raises RecipeError for a path that leads nowhere.
        """
        how = {"notify_parents": notify_parents, "skip_notification": skip_notification}
        if callable(changes):
            super().rebind(changes, raise_on_no_change=raise_on_no_change, **how)
            return self
        found: dict[Any, Any] = {}
        written = tree(self)
        for said, value in {**(changes or {}), **more}.items():
            path = re.sub(r"\[(\d+)\]", r".\1", str(said))
            if edits_text(written, path, SECTIONS):
                for one in spread(written, path):
                    written = laid(written, one, marked(from_hyper(value)), None)
                found[pg.KeyPath([EDITS])] = to_hyper(written.get(EDITS))
                continue
            for i, one in enumerate(spread(written, path) if "*" in path else [path]):
                found[self._place(one)] = value if i == 0 else pg.clone(value, deep=True)
        super().rebind(found, raise_on_no_change=raise_on_no_change, **how)
        return self

    def _place(self, path: str) -> Any:
        """PyGlove's key path for a recipe path; mappings on the way are made: one copy has none until it is named."""
        _check(self, path)
        here: Any = self
        keys: list[str | int] = []
        for part in path.split("."):
            if keys and isinstance(here, pg.Dict) and not here.sym_hasattr(keys[-1]):
                here.rebind({keys[-1]: pg.Dict()})
            here = here.sym_getattr(keys[-1]) if keys else here
            keys.append(_key(here, part, path))
        return pg.KeyPath(keys)

    def decided(self, choice: Mapping[str, Pick]) -> Recipe:
        """This recipe with the decisions of a search's choice made, as a new one."""
        return Recipe(**_flat(decide(tree(self), choice))).at(self._folder)

    @property
    def space(self) -> Space:
        """The decisions that are open in this recipe."""
        return space(tree(self))

    def strays(self, one: Mapping[str, Pick], other: Mapping[str, Pick]) -> list[str]:
        """The paths at which the recipes of two choices differ though no decision does that the path lies in."""
        changed = {n for n in {*one, *other} if one.get(n) != other.get(n)}
        found = pg.diff(self.decided(one), self.decided(other), flatten=True)
        paths = map(_plain_path, found or ())  # of equal values it makes a difference without any
        return [path for path in paths if not any(_within(path, name) for name in changed)]


def _plain_path(path: Any) -> str:
    return re.sub(r"\[(\w+)\]", r".\1", str(path))


def _within(path: str, decision: str) -> bool:
    """Whether a path lies in the place that a decision fills, or in the candidate that the decision lies in."""
    name = decision.split("[")[0]
    return path == name or path.startswith(f"{name}.")


def symbolic(document: Document) -> Recipe:
    """The symbolic form of a loaded recipe's model. Raises RecipeError for a step called like a section."""
    model = document.model.drop("set").set("name", marked(document.name))  # the document has made what `set` says
    steps = model.get("graph")
    for step in steps.keys() if isinstance(steps, Map) else ():
        if step in SECTIONS:
            what = f"the step '{step}' bears the name of a part of every recipe, so its path is not its own"
            raise RecipeError(Problem(what, steps.key_span(step), hint="rename it"))
    search = document.tree.get("search")
    return Recipe(**_flat(model)).at(document.folder, search if isinstance(search, Map) else None)


class Coder:
    """Turns choices of a recipe into PyGlove's DNA and back; the recipe is looked at once."""

    def __init__(self, recipe: Recipe) -> None:
        found, self._template = recipe.space.unmoved, pg.template(recipe)
        self._names = [d.name for d in found.decisions]
        self._spec = pg.dna_spec(recipe)
        self._tree = Tree(_ordered(found, self._spec))

    @property
    def size(self) -> int:
        """How many choices there are, as PyGlove counts; -1 where they are countless."""
        return int(self._spec.space_size)

    def choice(self, dna: Any) -> Choice:
        """The choice that DNA stands for."""
        return self.read(dna.to_numbers())

    def read(self, numbers: Iterable[Any]) -> Choice:
        """The choice that the numbers of DNA stand for, in order."""
        made = dict(decoded(self._tree, iter(numbers), lambda _: True))
        return {name: made[name] for name in self._names if name in made}

    def dna(self, choice: Mapping[str, Pick]) -> Any:
        """The DNA of a choice."""
        return pg.DNA.from_numbers(list(encoded(self._tree, choice, lambda _: True)), self._spec)

    def candidate(self, dna: Any) -> Recipe:
        """The recipe that PyGlove makes of DNA."""
        made = self._template.decode(dna)
        assert isinstance(made, Recipe)
        return made

    def choice_of(self, candidate: Recipe) -> Choice:
        """The choice that makes a candidate of PyGlove's."""
        return self.choice(self._template.encode(candidate))


def choice_of(recipe: Recipe, dna: Any) -> Choice:
    """The choice that PyGlove's DNA of a recipe (that of `pg.template(recipe)` or `pg.dna_spec(recipe)`) stands for."""
    return Coder(recipe).choice(dna)


def dna_of(recipe: Recipe, choice: Mapping[str, Pick]) -> Any:
    """The DNA by which PyGlove makes the candidate of a choice: `pg.template(recipe).decode(dna)`."""
    return Coder(recipe).dna(choice)


def sampled(recipe: Recipe, score: Callable[[Choice], float], count: int, seed: int = 0) -> list[Choice]:
    """The choices that PyGlove's own regularised evolution samples from a recipe (`pg.sample`), scored by `score`."""
    coder, found = Coder(recipe), list[Choice]()
    for candidate, feedback in pg.sample(recipe, pg.evolution.regularized_evolution(seed=seed), num_examples=count):
        found.append(coder.choice_of(candidate))
        feedback(score(found[-1]))
    return found


def _ordered(found: Space, spec: Any) -> list[Decision]:
    """The decisions in PyGlove's order, which is that of its own tree: sections before steps, copies before bodies."""
    at = {_plain_path(one.location): place for place, one in enumerate(spec.elements)}
    return sorted(found.decisions, key=lambda d: at[d.when[0][0] if d.when else d.name])


def tree(recipe: Recipe) -> Map:
    """The recipe tree (as read from YAML) that a symbolic recipe stands for; open choices become `$oneof` and so on."""
    sections, steps = {}, {}
    for key in recipe.sym_keys():
        value = from_hyper(recipe.sym_getattr(key))
        if key == "blocks":
            sections[key] = {n: b if "graph" in b else _unflat(b, BLOCK_KEYS) for n, b in value.items()}
        elif key in SECTIONS:
            sections[key] = value
        else:
            steps[key] = _unflat_step(value)
    found = marked({**sections} if isinstance(sections.get("graph"), str) else {**sections, "graph": steps})
    assert isinstance(found, Map)
    return found


def _check(recipe: Recipe, path: str) -> None:
    """Raise RecipeError where a part of a path names nothing in a place that has fixed names.

    These are the recipe, its vars, inputs and blocks, and the steps of a container; what a call of a block or of an op
    may be told is checked when the recipe is built.
    """
    here: Any = recipe
    parts = path.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(here, pg.Dict | Recipe):
            return
        if part.isdigit():
            continue  # one copy: it has the names of all
        known = [str(key) for key in here.sym_keys()]
        if part not in known:
            if _has_fixed_names(here, parts[:depth]) and part not in (STEP_KEYS if depth else SECTIONS):
                what = "the recipe" if depth == 0 else f"'{'.'.join(parts[:depth])}'"
                hint = near(part, known) or "there are " + ", ".join(known)
                raise RecipeError(f"'{path}': {what} has no '{part}'", hint=hint)
            return
        here = here.sym_getattr(part)


def _has_fixed_names(here: Any, parts: list[str]) -> bool:
    if not parts or parts in (["vars"], ["inputs"], ["blocks"]):
        return True
    inside_step = parts[0] not in SECTIONS or (parts[0] == "blocks" and len(parts) > 1)
    return inside_step and _is_container(here)


def _is_container(step: Any) -> bool:
    return not step.sym_hasattr("op") or step.sym_getattr("op") in ("residual", "branches")


def _key(here: Any, part: str, path: str) -> str | int:
    """The key of `part` in a symbolic value. Raises RecipeError where it cannot have one."""
    if isinstance(here, pg.List):
        if part.isdigit() and int(part) < len(here):
            return int(part)
        raise RecipeError(f"'{path}': '{part}' is not one of 0 to {len(here) - 1}")
    if not isinstance(here, pg.Symbolic):
        raise RecipeError(f"'{path}' leads into {here!r}, which has no parts")
    return part


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
    op = step.get("op")
    if isinstance(op, str) and registry.has_body(op):
        return _unflat(step, (*STEP_KEYS, *registry.lookup("op", op).arguments))
    if "op" in step and op not in ("residual", "branches"):
        return step
    return _unflat(step, STEP_KEYS)


def _unflat(step: dict[str, Any], own: tuple[str, ...]) -> dict[str, Any]:
    kept = {k: v for k, v in step.items() if k in own or k.isdigit()}
    inside = {k: _unflat_step(v) for k, v in step.items() if k not in kept}
    copies = {k: v for k, v in kept.items() if k.isdigit()}
    return {**{k: v for k, v in kept.items() if k not in copies}, "body": inside, **copies}
