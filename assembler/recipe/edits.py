"""Changes to a model whose `graph:` is text, an imported one: kept beside the text, by path, for the graph to make.

    edits: {encoder.layer.1: identity, encoder.layer.2: {op: mlp, hidden: 64}, encoder.layer.3.norm.eps: 1e-6}

A path is that of a step or container of the text, or of an argument behind a step; `frozen` and `weights` stand behind
either.
Numbers may be left out, which means all copies. A recipe that extends the model lays steps of its own behind it, under
names that the text does not have.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping

from assembler.errors import Problem, RecipeError, Span, near
from assembler.recipe.values import Leaf, Map, Value, is_choice

EDITS = "edits"
FROZEN = "frozen"
WEIGHTS = "weights"
AFTER = "after"
"""In a new step: the path of the one behind which it stands, in the midst of the model."""
KEEP = "keep"
"""In place of a step: the one that is there."""
ENDS = ("inputs", "outputs")
"""What a graph calls its inputs, and which values it gives out, can be changed as well."""
_LINE = re.compile(r"\s*(%|name )([A-Za-z0-9_.]+) =")

_INPUT = re.compile(r"[(,]\s*%([A-Za-z0-9_.]+):")


def graph_text(tree: Map) -> str:
    """The text that a model has for its graph, or "" where the graph is made of steps."""
    value = tree.get("graph")
    return value.value if isinstance(value, Leaf) and isinstance(value.value, str) else ""


@functools.lru_cache(maxsize=8)
def text_paths(text: str) -> Mapping[str, bool]:
    """The paths of a graph's text, each with whether it is a step's, but not those in the bodies of steps."""
    found: dict[str, bool] = {}
    depth = 0
    for line in text.splitlines():
        if depth == 1 and (step := _LINE.match(line)):
            found |= {p: found.get(p, False) for p in levels(step[2])}
            found[step[2]] |= step[1] == "%"
        depth += line.endswith("{") - (line.strip() == "}")
    return found


def text_inputs(text: str) -> tuple[str, ...]:
    """The names of a graph's inputs in its text."""
    return tuple(_INPUT.findall(text.partition(") {")[0]))


def levels(path: str) -> list[str]:
    """`a.b.c` -> a, a.b, a.b.c."""
    parts = path.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def places(paths: Iterable[str], path: str) -> list[str]:
    """Those of `paths` that a path means: itself, or the same of every copy where it leaves out numbers."""
    known = dict.fromkeys(paths)
    return [path] if path in known else [p for p in known if _numbered(path.split("."), p.split("."))]


def _numbered(parts: list[str], path: list[str]) -> bool:
    """Whether `path` is `parts` with numbers put in before some of them."""
    at = 0
    for word in path:
        if at < len(parts) and word == parts[at]:
            at += 1
        elif not word.isdigit():
            return False
    return at == len(parts) and path[-1] == parts[-1]


def copies(tree: Map, prefix: str) -> list[str]:
    """The numbers that follow a path in a graph's text."""
    begin = f"{prefix}." if prefix else ""
    after = (p.removeprefix(begin) for p in text_paths(graph_text(tree)) if p.startswith(begin))
    return sorted({p for p in after if p.isdigit()}, key=int)


def edits_text(tree: Map, path: str, sections: Collection[str]) -> bool:
    """Whether a change at a path is one to the text of a model's graph."""
    text, (head, *rest) = graph_text(tree), path.split(".")
    return bool(text) and (head not in sections or head in text_paths(text) or (head in ENDS and bool(rest)))


def replaced(tree: Map) -> list[str] | None:
    """The paths of an imported model's text at which other steps stand than its own; None for a recipe of steps."""
    text, edits = graph_text(tree), tree.get(EDITS)
    if not text:
        return None
    found: dict[str, None] = {}
    for path, value in edits if isinstance(edits, Map) else ():
        if value != Leaf(KEEP):
            found |= dict.fromkeys(places(text_paths(text), path))
    return list(found)


def laid(tree: Map, path: str, value: Value, span: Span | None, *, new: bool = False) -> Map:
    """The tree with `value` put at a path of its graph's text. A mapping that is no step changes arguments one by one.

    With `new` a step of another name is one to lay behind the model. Raises RecipeError, with the nearest paths, for a
    path that the graph does not have.
    """
    new = new or (isinstance(value, Map) and AFTER in value)
    if new and is_new(value) and "." not in path and not places(text_paths(graph_text(tree)), path):
        return _put(tree, path, value, span)
    owner, inside, key = path.rpartition(f".{WEIGHTS}.")
    if inside and places(text_paths(graph_text(tree)), owner):  # one word of them
        path, value = f"{owner}.{WEIGHTS}", _of(tree, f"{owner}.{WEIGHTS}").set(key, value)
    whole = is_choice(value) or path.endswith(f".{WEIGHTS}")
    if isinstance(value, Map) and not whole and not {"op", "body"} & set(value.keys()):
        for key, inner in value:
            tree = laid(tree, f"{path}.{key}", inner, value.key_span(key) or span)
        return tree
    _check(tree, path, span)
    return _put(tree, path, value, span)


def is_new(value: Value) -> bool:
    """Whether a value can stand for a step that is not there yet."""
    if isinstance(value, Leaf):
        return isinstance(value.value, str) and value.value != KEEP
    return is_choice(value) or (isinstance(value, Map) and bool({"op", "body"} & set(value.keys())))


def _of(tree: Map, path: str) -> Map:
    """The mapping that is laid at a path already, an empty one where there is none."""
    edits = tree.get(EDITS)
    said = edits.get(path) if isinstance(edits, Map) else None
    return said if isinstance(said, Map) else Map()


def _put(tree: Map, path: str, value: Value, span: Span | None) -> Map:
    """The tree with one more edit, the last one; a step that is laid behind the model keeps its turn."""
    known = tree.get(EDITS)
    items = [(k, v, known.key_span(k)) for k, v in known] if isinstance(known, Map) else []
    at = next((n for n, (key, _, _) in enumerate(items) if key == path), len(items))
    stays = at < len(items) and "." not in path and not places(text_paths(graph_text(tree)), path)
    items = [item for item in items if item[0] != path]
    items.insert(at if stays else len(items), (path, value, span))
    keys, values, spans = zip(*items, strict=True)
    return tree.set(EDITS, Map(tuple(zip(keys, values, strict=True)), span, spans))


def _check(tree: Map, path: str, span: Span | None) -> None:
    """Raise RecipeError unless a path is one of the text, of an argument behind a step, or inside of what is new."""
    known, made = text_paths(graph_text(tree)), tree.get(EDITS)
    edited = made.keys() if isinstance(made, Map) else []
    above = levels(path)[:-1]
    if path in edited or (above and (above[0] in ENDS or any(p in edited for p in above))):
        return
    if above and path.endswith((f".{FROZEN}", f".{WEIGHTS}")) and places(known, above[-1]):
        return
    if places(known, path) or (above and any(known[p] for p in places(known, above[-1]))):
        return
    inside = next((p for p in reversed(above) if places(known, p)), "")
    begin = f"{inside}." if inside else ""
    name = path.removeprefix(begin)
    children = list(dict.fromkeys(p.removeprefix(begin).split(".")[0] for p in known if p.startswith(begin)))
    there = f"there {'is' if len(children) == 1 else 'are'} {', '.join(children)}"
    what = f"'{inside}'" if inside else "the model"
    said = near(name.split(".")[0], (WEIGHTS, FROZEN)) if inside else ""
    hint = said or near(path, known) or near(name, children) or there
    raise RecipeError(Problem(f"{what} has no '{name}'", span, hint=hint))
