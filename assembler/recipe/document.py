"""A recipe file as it stands after `extends`, `@scale` and overrides: what every later stage starts from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from assembler import resources
from assembler.errors import AssemblerError, InputError, Problem, RecipeError, Span, near
from assembler.recipe.choices import Space, first, space
from assembler.recipe.edits import graph_text
from assembler.recipe.grammar import unrolled
from assembler.recipe.overrides import Change, override
from assembler.recipe.paths import KEYS, PAPER, patch, put
from assembler.recipe.read import read_file, read_text
from assembler.recipe.spread import spread
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice, plain

VERSION = 1
MOST_EXTENDED = 20


@dataclass(frozen=True)
class Document:
    """A loaded recipe. `tree` is the file's own content; `model` the model recipe that it is about, choices included,
    and `base` the same without the choices that a space lays into it.

    `problems` are the mistakes that loading went on after; only `load(..., strict=False)` leaves any.
    """

    kind: str
    name: str
    tree: Map
    model: Map
    base: Map
    file: Path | None = field(default=None, compare=False)
    problems: tuple[Problem, ...] = field(default=(), compare=False)

    @property
    def folder(self) -> Path:
        """Where the recipe lies, which is what the files that it names are relative to."""
        return self.file.parent if self.file else Path()

    @cached_property
    def space(self) -> Space:
        """The decisions that are open in the model, and the constraints on them. Raises RecipeError."""
        return space(self.model)

    @property
    def default(self) -> Map:
        """The model as it is written: without a space's choices, with the first candidate of the recipe's own."""
        return first(self.base, space(self.base, []))


def load(ref: str | Path, overrides: Sequence[str] = (), *, strict: bool = True) -> Document:
    """Read a recipe by file or shipped name (`poolformer@s24`), with `path=value` overrides applied in order.

    Raises RecipeError (all problems at once) or InputError where there is no such file. With `strict=False` what can be
    passed over is left in the document's `problems`, for a checker to report together with what it finds itself.
    """
    name, _, scale = str(ref).partition("@")
    file = resources.find(name)
    loader = _Loader(file)
    return loader.done(loader.document(read_file(file), scale, loader.changes(overrides)), strict)


def parse(text: str, file: str = "<recipe>", overrides: Sequence[str] = (), *, strict: bool = True) -> Document:
    """Like `load`, for the text of a recipe."""
    loader = _Loader(None)
    return loader.done(loader.document(read_text(text, file), "", loader.changes(overrides)), strict)


def varied(document: Document, changes: Iterable[Change], *, strict: bool = True) -> Document:
    """A loaded recipe with further changes, which go to a run or to its model as with `-o`. Raises as `load` does."""
    loader = _Loader(document.file)
    tree = document.tree.drop("set") if document.kind == "model" else document.tree
    return loader.done(replace(loader.document(tree, "", list(changes)), name=document.name), strict)


def beside(document: Document, ref: Leaf) -> Document:
    """The model recipe that a value of a recipe names: a shipped one, or one at or below the recipe's own folder."""
    loader = _Loader(document.file, at=ref.span)
    return loader.done(loader.reference(ref, "model"), strict=True)


def changed(tree: Map, changes: Iterable[Change | tuple[str, Value]]) -> Map:
    """The tree with every (path, value) put in; a path may hold `*`. Raises RecipeError for all that lead nowhere."""
    problems: list[Problem] = []
    found = _changed(tree, (c if isinstance(c, Change) else Change(*c) for c in changes), problems)
    if problems:
        raise RecipeError(problems)
    return found


def _changed(tree: Map, changes: Iterable[Change], problems: list[Problem]) -> Map:
    for change in (_by_path(tree, one) for one in changes):
        try:
            for concrete in spread(tree, change.path, change.span or change.value.span):
                tree = put(tree, concrete, change.value, change.span)
        except RecipeError as error:
            problems += error.at(change.span or change.value.span).problems
    return tree


def _by_path(tree: Map, change: Change) -> Change:
    """A change of one of the choices of a space or run (`choose.vars.dim`) as one of the section of paths."""
    section, dot, path = change.path.partition(".")
    kind = tree.get("kind")
    if not dot or kind is None or (plain(kind), section) not in (("space", "choose"), ("run", "space")):
        return change
    return replace(change, path=section, value=Map(((path, change.value),), change.value.span, (change.span,)))


def entries(section: Value | None) -> list[Change]:
    """The changes that a mapping of paths to values asks for."""
    if not isinstance(section, Map):
        return []
    return [Change(path, value, section.key_span(path)) for path, value in section]


@dataclass
class _Loader:
    """Loads one file and what it refers to; `problems` are those after which it could go on, `at` where it is named."""

    file: Path | None
    problems: list[Problem] = field(default_factory=list)
    at: Span | None = None

    def done(self, document: Document, strict: bool) -> Document:
        problems = tuple(dict.fromkeys(self.problems))
        if strict and problems:
            raise RecipeError(problems)
        return replace(document, problems=problems)

    def note(self, message: str, span: Span | None, hint: str = "") -> None:
        self.problems.append(Problem(message, span, hint=hint))

    def stop(self, message: str, span: Span | None, hint: str = "") -> RecipeError:
        return RecipeError([*self.problems, Problem(message, span, hint=hint)])

    def changes(self, overrides: Sequence[str]) -> list[Change]:
        found = []
        for text in overrides:
            try:
                found.append(override(text))
            except RecipeError as error:
                self.problems += error.problems
        return found

    @property
    def folder(self) -> Path:
        return self.file.parent if self.file else Path.cwd()

    # -- one document ------------------------------------------------------------------------------------------------

    def document(self, tree: Map, scale: str = "", changes: Sequence[Change] = (), *, expected: str = "") -> Document:
        tree = self.extended(tree, (self.file.resolve(),) if self.file else ())
        kind = self.kind(tree)
        if expected not in ("", kind):
            stem = self.file.stem if self.file else "this"
            raise RecipeError(Problem(f"'{stem}' is a {kind}, not a {expected}", self.at, hint=f"name a {expected}"))
        tree = self.scaled(self.checked(tree, kind), scale)
        own = [c for c in changes if c.path.split(".")[0] in (("set",) if kind == "model" else KEYS[kind])]
        inner = [c for c in changes if c not in own]
        tree = _changed(tree, own, self.problems)
        model = tree if kind == "model" else self.base(tree, kind)
        said = self.said(tree)
        space = self.named(tree.get("space")) if kind == "run" else tree
        theirs = entries(space.get("set")) if kind == "run" else []
        if len(model):  # else it cannot be read, which is said already
            model = _changed(model, [*theirs, *said, *inner], self.problems)
        base = model = model.drop("scales") if inner or kind != "model" else model  # those of the recipe as it stands
        tree = model if kind == "model" else tree
        name = plain(tree.get("name", Leaf(self.file.stem if self.file else "recipe")))
        if kind != "model":
            model = self.laid(model, space)
            kept = [(c.path, c.value) for c in (*said, *inner)]
            tree = tree.set("set", Map(tuple(dict(kept).items()))) if inner else tree
        model, base = (unrolled(one, self.problems) for one in (model, base))
        return Document(kind, str(name), tree, model, base, self.file)

    def said(self, tree: Map) -> list[Change]:
        """The changes that a recipe's own `set` asks for."""
        said = tree.get("set")
        if said is not None and not isinstance(said, Map):
            self.note("'set' must be a mapping of paths to values", said.span, "for instance {vars.dim: 96}")
        return entries(said)

    def inline(self, tree: Map, seen: tuple[Path, ...]) -> Map:
        """A model that is written inside another recipe, laid over what it extends, its own changes made."""
        tree = self.extended(tree, seen)
        return _changed(tree, self.said(tree), self.problems).drop("set")

    def kind(self, tree: Map) -> str:
        value = tree.get("kind", Leaf("model"))
        said = plain(value)
        if isinstance(said, str) and said in KEYS:
            return said
        raise self.stop(f"unknown kind '{said}'", value.span, near(str(said), KEYS) or "kinds: model, space, run")

    def checked(self, tree: Map, kind: str) -> Map:
        """The tree without the keys that do not belong into it."""
        known = KEYS[kind]
        unknown = [key for key in tree.keys() if key not in known]
        for key in unknown:
            other = next((k for k in KEYS if key in KEYS[k]), "")
            hint = near(key, known) or (f"it belongs into a {other}" if other else f"keys: {', '.join(known)}")
            self.note(f"unknown key '{key}' in a {kind} recipe", tree.key_span(key), hint)
        version = tree.get("version", Leaf(VERSION))
        if plain(version) != VERSION:
            said = f"unknown recipe version {plain(version)!r}"
            self.note(said, version.span, f"this release reads version {VERSION}")
        self.paper(tree.get("paper"))
        return tree.drop(*unknown)

    def paper(self, value: Value | None) -> None:
        """Note what is wrong with what a recipe says of its paper."""
        if value is None or value == Leaf(None):
            return
        hint = "for instance {title: Attention Is All You Need, source: arXiv 1706.03762, family: token mixer}"
        if not isinstance(value, Map) or "title" not in value or "family" not in value:
            self.note("'paper' is a mapping with a title and a family", value.span, hint)
            return
        for key, one in value:
            if key not in PAPER:
                self.note(
                    f"'paper' has no '{key}'", value.key_span(key), near(key, PAPER) or f"keys: {', '.join(PAPER)}"
                )
            elif type(plain(one)) is not (int if key == "seed" else str):
                self.note(f"'{key}' of a paper is {'a number' if key == 'seed' else 'a text'}", one.span, hint)

    def scaled(self, tree: Map, scale: str) -> Map:
        if not scale:
            return tree
        scales = tree.get("scales")
        known = scales.keys() if isinstance(scales, Map) else []
        if scale not in known:
            hint = near(scale, known) or (f"scales: {', '.join(known)}" if known else "the recipe has no 'scales'")
            self.note(f"there is no scale '{scale}'", self.at, hint)
            return tree
        return _changed(tree, scale_changes(tree, scale), self.problems)

    # -- other files -------------------------------------------------------------------------------------------------

    def extended(self, tree: Map, seen: tuple[Path, ...]) -> Map:
        """The tree laid over the recipe that it extends, and that one over its own."""
        tree = self.with_models(tree, seen)
        value = tree.get("extends")
        if value is None or (isinstance(value, Leaf) and value.value is None):
            return tree.drop("extends")
        if not isinstance(value, Leaf) or not isinstance(value.value, str):
            raise self.stop("'extends' must name one recipe", value.span, "for instance extends: vit@tiny")
        ref, _, scale = value.value.partition("@")
        path = self.local(ref, value)
        if path.resolve() in seen:
            chain = " -> ".join(p.name for p in (*seen, path))
            raise self.stop(f"'extends' goes in a circle: {chain}", value.span)
        if len(seen) >= MOST_EXTENDED:
            raise self.stop(f"more than {MOST_EXTENDED} recipes extend each other", value.span)
        other = _Loader(path, self.problems, value.span)
        base = other.extended(read_file(path), (*seen, path.resolve()))
        base = other.scaled(other.checked(base, other.kind(base)), scale)
        merged = patch(base, tree.drop("extends"), group="graph")
        assert isinstance(merged, Map)
        return merged

    def with_models(self, tree: Map, seen: tuple[Path, ...]) -> Map:
        """The tree with each block that is a model of its own, an imported one, in full."""
        blocks = tree.get("blocks")
        for name, block in blocks if isinstance(blocks, Map) else ():
            if not isinstance(block, Map) or "extends" not in block:
                continue
            model = self.inline(block, seen)
            if not graph_text(model):
                hint = "extend a recipe of steps as a whole, or write its steps in the block's body"
                what = f"block '{name}' extends a recipe of steps; a block can be an imported model"
                raise self.stop(what, block.get("extends").span, hint)
            blocks = blocks.set(name, model)
        return tree if blocks is tree.get("blocks") else tree.set("blocks", blocks)

    def base(self, tree: Map, kind: str) -> Map:
        """The model that a space or a run is about; an empty one where it cannot be read."""
        key = "base" if kind == "space" else "model"
        value = tree.get(key)
        if isinstance(value, Map) and len(value):
            return self.checked(self.inline(value, (self.file.resolve(),) if self.file else ()), "model")
        if not isinstance(value, Leaf) or not isinstance(value.value, str):
            span = value.span if value else tree.key_span(key) if key in tree else tree.span
            self.note(f"a {kind} needs '{key}', the model it is about", span, f"for instance {key}: poolformer@s12")
            return Map()
        try:
            return self.reference(value, "model").model
        except (RecipeError, InputError) as error:
            self.problems += error.problems
            return Map()

    def reference(self, value: Leaf, kind: str) -> Document:
        """The recipe of that kind that a value names."""
        ref, _, scale = str(value.value).partition("@")
        path = self.local(ref, value)
        return _Loader(path, self.problems, value.span).document(read_file(path), scale, expected=kind)

    def local(self, ref: str, value: Value) -> Path:
        """The file that a recipe names: a shipped one, or one at or below the recipe's own folder."""
        hint = "use a shipped name, or a file at or below the recipe's own folder"
        outside = RecipeError(Problem(f"a recipe may not reach '{ref}'", value.span, hint=hint))
        if ref.startswith(("/", "~")) or ".." in Path(ref).parts or ":" in ref or "\\" in ref:
            raise outside
        try:
            path = resources.find(ref, beside=self.folder)
        except AssemblerError as error:
            raise RecipeError(error.problems).at(value.span) from None
        if path in resources.shipped().values() or path.resolve().is_relative_to(self.folder.resolve()):
            return path
        raise outside

    # -- choices -----------------------------------------------------------------------------------------------------

    def named(self, section: Value | None) -> Map:
        """What the `space:` of a run lays into its model: choices by path, or all that the space of that name says."""
        if not isinstance(section, Leaf) or not isinstance(section.value, str):
            return Map() if section is None else Map((("choose", section),))
        try:
            return self.reference(section, "space").tree
        except (RecipeError, InputError) as error:
            self.problems += error.problems
            return Map()

    def laid(self, model: Map, tree: Map) -> Map:
        """A model with all that a space says laid into it; constraints and moves of its own stay."""
        model = self.chosen(model, tree.get("choose"))
        for key in ("where", "moves"):
            if key in tree and len(model):
                join = _together if key == "where" else _moves_together
                model = model.set(key, join(model.get(key), tree.get(key)))
        return model

    def chosen(self, model: Map, section: Value | None) -> Map:
        """A model with choices laid into it; `section` maps paths to them."""
        if section is None or not len(model):
            return model
        if not isinstance(section, Map):
            self.note("a space maps paths to choices", section.span, "for instance {stage.*.x: {$oneof: [a, b]}}")
            return model
        for change in entries(section):
            if not is_choice(change.value):
                hint = "for instance {$oneof: [a, b]}; a plain value stands under set:"
                self.note(f"'{change.path}' needs a choice", change.value.span or change.span, hint)
        return _changed(model, [c for c in entries(section) if is_choice(c.value)], self.problems)


def _together(own: Value | None, said: Value) -> Value:
    """One section after another; what is no list is a list of one."""
    parts = [tuple(v) if isinstance(v, Seq) else (v,) for v in (own, said) if v is not None]
    return Seq(tuple(v for part in parts for v in part), said.span) if own is not None else said


def _moves_together(own: Value | None, said: Value) -> Value:
    """The moves of both; how many there are to be at most says the second one, if it does."""
    bounded = [v for v in (said, own) if isinstance(v, Map)]
    if own is None or not bounded:
        return _together(own, said)
    lists = [v.get("of", Seq(())) if isinstance(v, Map) else v for v in (own, said)]
    most = [("most", v.get("most")) for v in bounded if "most" in v][:1]
    return Map((*most, ("of", _together(*lists))), said.span)


def scale_changes(tree: Map, scale: str) -> list[Change]:
    """What one of a recipe's `scales:` changes; the names of vars may stand without `vars.`."""
    variables = tree.get("vars")
    known = variables.keys() if isinstance(variables, Map) else []
    found = entries(tree.get("scales").get(scale))
    return [replace(c, path=f"vars.{c.path}") if c.path.split(".")[0] in known else c for c in found]
