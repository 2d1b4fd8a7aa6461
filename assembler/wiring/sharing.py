"""What a step says of its weights: how they begin, that they are another step's, that they stay as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from assembler import registry
from assembler.errors import near
from assembler.graph.core import Graph, Node
from assembler.graph.shares import INTO, TRANSPOSED, UP, find, outside, owner_of, renamed
from assembler.graph.shares import parts as parts_of
from assembler.graph.verify_shares import COPIES, lends
from assembler.recipe.steps import Step
from assembler.wiring.initial import initializers_of
from assembler.wiring.names import Names

if TYPE_CHECKING:
    from assembler.wiring.builder import Builder


def mark(builder: Builder, step: Step, names: Names) -> None:
    """Note in the nodes of a step, or of everything in a container, whose weights they use and that they are frozen."""
    prefix = f"{step.path}."
    region = [i for i in builder.nodes if i == step.path or i.startswith(prefix)]
    if step.frozen:
        for i in region:
            builder.nodes[i] = replace(builder.nodes[i], frozen=True)
    if "initializers" in step.written:
        rules = initializers_of(step.written.get("initializers"), step.scope, builder.problems)
        for i in region:
            if may_have_weights(builder.nodes[i]):
                builder.nodes[i] = replace(builder.nodes[i], init=(*rules, *builder.nodes[i].init))
    if isinstance(step.share, dict):
        _tie(builder, step, names)
    elif step.share:
        _share(builder, step, names, [i for i in region if may_have_weights(builder.nodes[i])])
    _check_frozen(builder, step, [i for i in region if builder.nodes[i].frozen])


def _check_frozen(builder: Builder, step: Step, region: list[str]) -> None:
    """Weights are trained or not, whichever step uses them: a frozen step cannot use those of one that is trained."""
    for i in region:
        for path in _shared(builder.nodes[i]):
            if not _is_frozen(builder, path):
                owner = recipe_path(path) if INTO in path else owner_of(path, builder.nodes)[0]
                said = f"'{i}' is frozen, and '{owner}', whose weights it uses, is not"
                key = "frozen" if step.frozen else "share"
                builder.note(said, step.key_span(key), "freeze both of them, or neither")


def _is_frozen(builder: Builder, path: str) -> bool:
    if INTO not in path:
        return builder.nodes[owner_of(path, builder.nodes)[0]].frozen
    found = find([_whole(builder)], path)
    return found is not None and any(node.frozen for node in (found.node, *found.entered))


def _shared(node: Node, depth: int = 0) -> list[str]:
    """What a step and its body share outside of the body, as it is told beside the step."""
    found = [path[depth:] for _, path in node.share if path.startswith(UP * depth)]
    found = [path for path in found if not path.startswith(UP)]
    for inner in node.body.nodes.values() if node.body is not None else ():
        found += _shared(inner, depth + 1)
    return found


def recipe_path(path: str) -> str:
    """A shared path as a recipe writes it."""
    return path.lstrip(UP).replace(INTO, ".")


def may_have_weights(node: Node) -> bool:
    """Whether a step can have weights: its op is not a plain function."""
    return registry.lookup("op", node.op).shape != "function"


def _share(builder: Builder, step: Step, names: Names, region: list[str]) -> None:
    path = _path(builder, step, names, step.share)
    if path is None:
        return
    twins: dict[str, str] = {}
    for i in region:
        other = path + i.removeprefix(step.path)
        shared, twin = _at(builder, other)
        if twin is None or twin.op != builder.nodes[i].op:
            what = f"has no step '{recipe_path(other)}'" if twin is None else f"is a {twin.op} there"
            said = f"'{step.path}' cannot use the weights of '{recipe_path(path)}', which {what}"
            builder.note(said, step.value_span("share"), "both must be the same steps")
            return
        if INTO in shared and not _lent(builder, step, shared):
            return
        twins[i] = shared
        builder.nodes[i] = replace(builder.nodes[i], share=(("", shared),))
    for i in region if step.path not in twins else ():
        builder.nodes[i] = _inside(builder.nodes[i], twins)


def _inside(node: Node, twins: dict[str, str]) -> Node:
    """A step of a container that shares whole, whose body shares steps of that container: now it shares their twins."""
    return node if node.body is None else replace(renamed(node, twins), share=node.share)


def _lent(builder: Builder, step: Step, path: str, *at: str) -> bool:
    """Whether what a path leads into has one set of weights; a problem is noted where it has copies."""
    found = find([_whole(builder)], path)
    copied = next((node for node in found.entered if not lends(node.op)), None) if found else None
    if copied is not None:
        said = f"step '{step.name}' cannot use the weights of '{recipe_path(path)}', of which '{copied.op}' has copies"
        builder.note(said, step.value_span("share", *at), COPIES)
    return copied is None


def _tie(builder: Builder, step: Step, names: Names) -> None:
    ties = []
    for name, target in step.share.items():
        turned = TRANSPOSED if target.endswith(TRANSPOSED) else ""
        owner, _, parameter = target.removesuffix(turned).rpartition(".")
        path = _path(builder, step, names, owner, name)
        if path is None:
            continue
        shared, twin = _at(builder, path, whole=False)
        if twin is None:
            said = f"'{owner}' is no single step, whose '{parameter}' could be shared"
            builder.note(said, step.value_span("share", name))
        elif INTO not in shared or _lent(builder, step, shared, name):
            ties.append((name, f"{shared}.{parameter}{turned}"))
    if step.path in builder.nodes:
        builder.nodes[step.path] = replace(builder.nodes[step.path], share=tuple(ties))


def _whole(builder: Builder) -> Graph:
    """What is wired so far, bodies that are being wired included, as one graph."""
    return Graph((), builder.nodes, ())


def _at(builder: Builder, path: str, *, whole: bool = True) -> tuple[str, Node | None]:
    """The step at a path, which may lead into bodies, as (shared path, step): the one whose weights it uses as a whole.

    Where `whole` is false, it is the step itself.
    """
    if path in builder.nodes:
        node = builder.nodes[path]
        return node.owner if whole and node.owner else path, node
    graphs, passed, rest = _walked(builder, path)
    if rest not in graphs[-1].nodes:
        return path, None
    node = graphs[-1].nodes[rest]
    shared = node.owner if whole and node.owner else rest
    for step in reversed(passed):
        shared = outside(step, shared)
    return shared, node


def _walked(builder: Builder, path: str) -> tuple[tuple[Graph, ...], tuple[str, ...], str]:
    """The graphs that a path leads into, the steps whose bodies they are, and the path in the last of them.

    A loop that uses another's weights leads into that one.
    """
    graphs: tuple[Graph, ...] = (_whole(builder),)
    passed: tuple[str, ...] = ()
    rest = path
    while rest not in (nodes := graphs[-1].nodes):
        parts = rest.split(".")
        heads = (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
        step = next((h for h in heads if h in nodes and nodes[h].body is not None), "")
        if not step:
            break
        rest = rest.removeprefix(f"{step}.")
        if nodes[step].owner:
            up, (*through, step) = parts_of(nodes[step].owner)
            graphs, passed = graphs[: len(graphs) - up], passed[: len(passed) - up]
        else:
            through = []
        for inner in (*through, step):
            body = graphs[-1].nodes[inner].body
            assert body is not None
            graphs, passed = (*graphs, body), (*passed, inner)
    return graphs, passed, rest


def _path(builder: Builder, step: Step, names: Names, said: str, *at: str) -> str | None:
    """The path of the step before this one that `said` names; a problem is noted where there is none."""
    head, _, rest = said.partition(".")
    path = names.find(head)
    for here in (f"{path}.{rest}" if rest else path, said):
        if here and here != step.path and _exists(builder, here):
            return here
    known = [n for n in dict.fromkeys([*names.all(), *builder.names, *builder.nodes]) if n != step.path]
    graphs, passed, rest = _walked(builder, said)
    if passed:
        known = [f"{said.removesuffix(rest)}{i}" for i in (*graphs[-1].nodes, *graphs[-1].names)]
    hint = near(said, known) or "name a step that stands before it"
    builder.note(f"step '{step.name}' shares '{said}', which is no step before it", step.value_span("share", *at), hint)
    return None


def _exists(builder: Builder, path: str) -> bool:
    if path in builder.nodes or path in builder.names:
        return True
    graphs, passed, rest = _walked(builder, path)
    return bool(passed) and (rest in graphs[-1].nodes or rest in graphs[-1].names)
