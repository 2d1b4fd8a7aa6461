"""What a step says of its weights: how they begin, that they are another step's, that they stay as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from assembler import registry
from assembler.errors import near
from assembler.graph.core import Node
from assembler.graph.shares import owners
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
        for owner in owners(builder.nodes[i], builder.nodes):
            if not builder.nodes[owner].frozen:
                said = f"'{i}' is frozen, and '{owner}', whose weights it uses, is not"
                key = "frozen" if step.frozen else "share"
                builder.note(said, step.key_span(key), "freeze both of them, or neither")


def may_have_weights(node: Node) -> bool:
    """Whether a step can have weights: its op is not a plain function."""
    return registry.lookup("op", node.op).shape != "function"


def _share(builder: Builder, step: Step, names: Names, region: list[str]) -> None:
    found = _path(builder, step, names, step.share)
    if found is None:
        return
    for i in region:
        other = found + i.removeprefix(step.path)
        twin = builder.nodes.get(other)
        if twin is None or twin.op != builder.nodes[i].op:
            what = f"has no step '{other}'" if twin is None else f"is a {twin.op} there"
            said = f"'{step.path}' cannot use the weights of '{found}', which {what}"
            builder.note(said, step.value_span("share"), "both must be the same steps")
            return
        builder.nodes[i] = replace(builder.nodes[i], share=(("", twin.owner or other),))


def _tie(builder: Builder, step: Step, names: Names) -> None:
    ties = []
    for name, target in step.share.items():
        owner, _, parameter = target.rpartition(".")
        found = _path(builder, step, names, owner, name)
        if found is None:
            continue
        if found not in builder.nodes:
            said = f"'{owner}' is no single step, whose '{parameter}' could be shared"
            builder.note(said, step.value_span("share", name))
        else:
            ties.append((name, f"{found}.{parameter}"))
    if step.path in builder.nodes:
        builder.nodes[step.path] = replace(builder.nodes[step.path], share=tuple(ties))


def _path(builder: Builder, step: Step, names: Names, said: str, *at: str) -> str | None:
    """The path of the step before this one that `said` names; a problem is noted where there is none."""
    head, _, rest = said.partition(".")
    path = names.find(head)
    for here in (f"{path}.{rest}" if rest else path, said):
        if here and here != step.path and (here in builder.nodes or here in builder.names):
            return here
    known = [n for n in dict.fromkeys([*names.all(), *builder.names, *builder.nodes]) if n != step.path]
    hint = near(said, known) or "name a step that stands before it"
    builder.note(f"step '{step.name}' shares '{said}', which is no step before it", step.value_span("share", *at), hint)
    return None
