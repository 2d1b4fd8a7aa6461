"""A recipe file as it stands after `extends`, `@scale` and overrides: what every later stage starts from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from assembler import resources
from assembler.errors import Problem, RecipeError, near
from assembler.recipe.paths import SECTIONS, patch, put
from assembler.recipe.read import read_file, read_text
from assembler.recipe.spread import spread
from assembler.recipe.values import Leaf, Map, Value, is_choice, plain

_COMMON = ("kind", "version", "name", "doc", "extends", "set")
KEYS = {
    "model": (*SECTIONS, "set"),
    "space": (*_COMMON, "base", "choose", "search"),
    "run": (*_COMMON, "model", "space", "split", "data", "train", "task", "metric", "seeds", "phases"),
}
VERSION = 1


@dataclass(frozen=True)
class Document:
    """A loaded recipe. `tree` is the file's own content; `model` the model recipe that it is about, choices included."""

    kind: str
    name: str
    tree: Map
    model: Map
    file: Path | None = field(default=None, compare=False)


def load(ref: str | Path, overrides: Sequence[str] = ()) -> Document:
    """Read a recipe by file or shipped name (`poolformer@s24`), with `path=value` overrides applied in order.

    Raises RecipeError (all problems of a file at once) or InputError where there is no such file.
    """
    name, _, scale = str(ref).partition("@")
    file = resources.find(name)
    tree = _extended(read_file(file), file, ())
    return _finish(tree, file, scale, [override(o) for o in overrides])


def parse(text: str, file: str = "<recipe>", overrides: Sequence[str] = ()) -> Document:
    """Like `load`, for the text of a recipe."""
    tree = _extended(read_text(text, file), Path.cwd() / "recipe.yaml", ())
    return _finish(tree, None, "", [override(o) for o in overrides])


def override(text: str) -> tuple[str, Value]:
    """The path and value of `path=value`; the value is YAML (`vars.dim=96`, `stage.block.mixer={op: pool}`)."""
    path, sign, value = text.partition("=")
    if not sign or not path.strip():
        raise RecipeError(f"'{text}' is not an override", hint="write -o path=value, for instance -o vars.dim=96")
    found = read_text(f"value: {value}\n" if value.strip() else "value: null\n", f"-o {path.strip()}").get("value")
    return path.strip(), found


def _finish(tree: Map, file: Path | None, scale: str, changes: list[tuple[str, Value]]) -> Document:
    kind = plain(tree.get("kind", Leaf("model")))
    if kind not in KEYS:
        span = tree.get("kind").span
        raise RecipeError(Problem(f"unknown kind '{kind}'", span, hint=near(str(kind), KEYS) or "model, space or run"))
    _check_keys(tree, kind)
    tree = _scaled(tree, scale)
    own: list[tuple[str, Value]] = []
    inner: list[tuple[str, Value]] = []
    for path, value in changes:
        mine = kind == "model" or path.split(".")[0] in KEYS[kind]
        (own if mine else inner).append((path, value))
    tree = changed(tree, own)
    name = plain(tree.get("name", Leaf(file.stem if file else "recipe")))
    model = tree if kind == "model" else changed(_base(tree, kind, file), inner)
    model = changed(model, list(tree.get("set") or ()))
    model = choose(model, tree.get("choose" if kind == "space" else "space"), file)
    if kind != "model":
        tree = tree.set("set", Map((*(tree.get("set") or ()), *inner))) if inner else tree
    return Document(kind, str(name), tree, model, file)


def changed(tree: Map, changes: Iterable[tuple[str, Value]]) -> Map:
    """The tree with every (path, value) put in; a path may hold `*`. Raises RecipeError for all that lead nowhere."""
    problems: list[Problem] = []
    for path, value in changes:
        try:
            for concrete in spread(tree, path, value.span):
                tree = put(tree, concrete, value)
        except RecipeError as error:
            problems += error.at(value.span).problems
    if problems:
        raise RecipeError(problems)
    return tree


def choose(model: Map, section: Value | None, file: Path | None = None) -> Map:
    """A model recipe with the choices of a space laid into it; `section` maps paths to choices, or names a space."""
    if isinstance(section, Leaf) and isinstance(section.value, str):
        section = _reference(section, file, "space").tree.get("choose")
    if section is None:
        return model
    if not isinstance(section, Map):
        raise RecipeError(Problem("a space maps paths to choices", section.span, hint="stage.*.x: {$oneof: [a, b]}"))
    problems, found = [], []
    for path, value in section:
        if not is_choice(value):
            problems.append(Problem(f"'{path}' needs a choice", value.span, hint="for instance {$oneof: [a, b]}"))
            continue
        try:
            found += [(concrete, value) for concrete in spread(model, path, section.key_span(path))]
        except RecipeError as error:
            problems += error.at(section.key_span(path)).problems
    if problems:
        raise RecipeError(problems)
    return changed(model, found)


def _base(tree: Map, kind: str, file: Path | None) -> Map:
    key = "base" if kind == "space" else "model"
    value = tree.get(key)
    if isinstance(value, Map) and "graph" in value:
        _check_keys(value, "model")
        return _extended(value, file or Path.cwd() / "recipe.yaml", ())
    if isinstance(value, Map):
        value = value.set("extends", value.get("extends", Leaf(None)))
        return _extended(value, file or Path.cwd() / "recipe.yaml", ())
    if not isinstance(value, Leaf) or not isinstance(value.value, str):
        span = tree.key_span(key) if key in tree else tree.span
        raise RecipeError(
            Problem(f"a {kind} needs '{key}', the model it is about", span, hint=f"{key}: poolformer@s12")
        )
    return _reference(value, file, "model").model


def _reference(value: Leaf, file: Path | None, kind: str) -> Document:
    ref, _, scale = str(value.value).partition("@")
    path = _local(ref, value, file)
    found = _finish(_extended(read_file(path), path, ()), path, scale, [])
    if found.kind != kind:
        raise RecipeError(Problem(f"'{ref}' is a {found.kind}, not a {kind}", value.span))
    return found


def _local(ref: str, value: Value, file: Path | None) -> Path:
    """The file that a recipe names: a shipped one, or one at or below the recipe's own folder."""
    if ref.startswith(("/", "~")) or ".." in Path(ref).parts or ":" in ref:
        hint = "use a shipped name, or a file at or below the recipe's own folder"
        raise RecipeError(Problem(f"a recipe may not reach '{ref}'", value.span, hint=hint))
    try:
        return resources.find(ref, beside=file.parent if file else None)
    except Exception as error:
        problems = getattr(error, "problems", ())
        raise RecipeError([replace(p, span=p.span or value.span) for p in problems] or str(error)) from None


def _extended(tree: Map, file: Path, seen: tuple[Path, ...]) -> Map:
    value = tree.get("extends")
    if value is None or (isinstance(value, Leaf) and value.value is None):
        return tree.drop("extends")
    if not isinstance(value, Leaf) or not isinstance(value.value, str):
        raise RecipeError(Problem("'extends' must name one recipe", value.span, hint="for instance extends: vit@tiny"))
    ref, _, scale = value.value.partition("@")
    path = _local(ref, value, file)
    if path.resolve() in (*seen, file.resolve()):
        chain = " -> ".join(p.name for p in (*seen, file, path))
        raise RecipeError(Problem(f"'extends' goes in a circle: {chain}", value.span))
    base = _scaled(_extended(read_file(path), path, (*seen, file.resolve())), scale)
    _check_keys(base, str(plain(base.get("kind", Leaf("model")))))
    merged = patch(base, tree.drop("extends"), group="graph")
    assert isinstance(merged, Map)
    return merged


def _scaled(tree: Map, scale: str) -> Map:
    if not scale:
        return tree
    scales = tree.get("scales")
    if not isinstance(scales, Map) or scale not in scales:
        known = scales.keys() if isinstance(scales, Map) else []
        hint = near(scale, known) or (f"scales: {', '.join(known)}" if known else "the recipe has no scales")
        raise RecipeError(f"no scale '{scale}'", hint=hint)
    variables = tree.get("vars") or Map()
    changes = [(f"vars.{k}" if k in variables else k, v) for k, v in scales.get(scale)]
    return changed(tree, changes)


def _check_keys(tree: Map, kind: str) -> None:
    known = KEYS.get(kind, KEYS["model"])
    problems = [
        Problem(
            f"unknown key '{key}' in a {kind} recipe",
            tree.key_span(key),
            hint=near(key, known) or f"keys: {', '.join(known)}",
        )
        for key in tree.keys()
        if key not in known
    ]
    version = plain(tree.get("version", Leaf(VERSION)))
    if version != VERSION:
        hint = f"this release reads version {VERSION}"
        problems.append(Problem(f"unknown recipe version {version!r}", tree.get("version").span, hint=hint))
    if problems:
        raise RecipeError(problems)
