"""Applying rewrites: at which of their sites, one after the other, the weights along with the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from assembler.errors import GraphError, near
from assembler.graph.core import Graph
from assembler.graph.shares import owners
from assembler.graph.values import covers
from assembler.graph.verify import verify
from assembler.infer.shape import shapes
from assembler.rewrites.core import NoSiteError, Rewrite, no_site, no_site_at_all
from assembler.rewrites.inside import Inside, all_paths, bodies
from assembler.rewrites.view import View

if TYPE_CHECKING:
    from torch import Tensor

ALL = "*"


def rewritten(
    graph: Graph, rewrite: Rewrite, state: Mapping[str, Tensor] | None = None, at: str = ALL
) -> tuple[Graph, dict[str, Tensor] | None]:
    """The graph after a rewrite at every site that `at` means, and the weights for it if `state` is given.

    `at` is a path, a container, or a pattern in which `*` stands for one part of a path; `*` alone means all sites.
    Paths lead into the bodies of steps (`loop.cell`). Raises GraphError where it means none; a rewrite that only makes
    simpler what there is may find nothing to do anywhere.
    """
    found = None if state is None else dict(state)
    for place in places(rewrite, graph, at):
        graph, found = _once(graph, rewrite, found, place)
    while rewrite.settles and (left := matching(graph, sites(rewrite, graph), at)):
        graph, found = _once(graph, rewrite, found, left[0])
    return graph, found


def sites(rewrite: Rewrite, graph: Graph) -> tuple[str, ...]:
    """All sites of a rewrite: those in the graph, then those in the bodies of its steps.

    In a body of which a step makes copies there are none for a rewrite that the weights decide on: copies differ.
    """
    types = shapes(graph)
    found = list(rewrite.sites(graph, types))
    for inner in bodies(graph, types):
        if len(inner.prefixes) == 1 or not rewrite.needs_weights:
            found += [f"{inner.step}.{path}" for path in sites(rewrite, inner.graph)]
    return tuple(found)


def applied(graph: Graph, rewrite: Rewrite, at: str) -> Graph:
    """The graph after a rewrite at one of its sites. Raises NoSiteError where `at` is none, GraphError if it fails."""
    if at not in (known := sites(rewrite, graph)):
        raise no_site(rewrite, at, known, why=_why(rewrite, graph, at))
    return _once(graph, rewrite, None, at)[0]


def places(rewrite: Rewrite, graph: Graph, at: str) -> tuple[str, ...]:
    """The sites that `at` means. Raises GraphError, with the nearest ones, where it means none."""
    known = sites(rewrite, graph)
    if at != ALL and ALL not in at and at not in set(all_paths(graph)):
        raise _unknown(graph, at)
    found = matching(graph, known, at)
    if not found and at == ALL and not rewrite.settles:
        raise no_site_at_all(rewrite, graph, _laid_out(rewrite, graph))
    if not found and at != ALL:
        raise no_site(rewrite, at, known, _laid_out(rewrite, graph, at), _why(rewrite, graph, at))
    return found


def _unknown(graph: Graph, at: str) -> GraphError:
    try:
        graph.resolve(at)
    except GraphError as error:
        hint = near(at, all_paths(graph)) or error.problems[0].hint
        return GraphError(error.problems[0].message, hint=hint)
    return GraphError(f"'{at}' is an input of {graph.name}, and a rewrite goes to steps")


def _laid_out(rewrite: Rewrite, graph: Graph, at: str = ALL) -> str:
    """A hint at blocks that are one step, where a rewrite has a site that `at` means once they are laid out."""
    from assembler.rewrites.expand import Expand

    blocks = Expand().sites(graph, shapes(graph))
    own = matching(graph, blocks, at)
    for some in (own, blocks):
        made = graph
        for block in some:
            made = Expand().apply(made, shapes(made), block)
        if some and matching(made, rewrite.sites(made, shapes(made)), at):
            first = (own or blocks)[0]
            many = "" if len(some) == 1 else ", and others beside it"
            return f"'{first}' is {graph.nodes[first].op}, one step{many}; `expand` lays it out as steps, do that first"
    return ""


def _why(rewrite: Rewrite, graph: Graph, at: str) -> str:
    """Why a step or container is no site of a rewrite: its weights are others' too, or what the rewrite says."""
    types, view = shapes(graph), View(graph, shapes(graph))
    alone = replace(graph, nodes={i: replace(node, share=()) for i, node in graph})
    for site in matching(alone, rewrite.sites(alone, types), at):
        inside = set(graph.region(site))
        for i in graph.region(site):
            others = {*owners(graph.nodes[i], graph.nodes), *view.sharers.get(i, ())} - inside
            if others:
                return f"'{i}' shares its weights with '{min(others, key=list(graph.nodes).index)}'"
    for i in graph.nodes:
        if covers(at, i) and (why := rewrite.hindrance(graph, types, i)):
            return why if i == at else f"of '{i}', {why}"
    return ""


def matching(graph: Graph, known: Sequence[str], at: str) -> tuple[str, ...]:
    """Those of the `known` sites that `at` means: the one of that path, else those that lie under it."""
    if at == ALL:
        return tuple(known)
    held = {at, graph.names.get(at, at)}
    if exact := tuple(i for i in known if i == at) or tuple(i for i in known if i in held):
        return exact
    pattern = re.compile(re.escape(at).replace(r"\*", r"[^.]+") + r"(\..+)?")
    whole = tuple(i for i in known if (m := pattern.fullmatch(i)) and not m[1])
    return whole or tuple(i for i in known if pattern.fullmatch(i))


def _once(
    graph: Graph, rewrite: Rewrite, state: dict[str, Tensor] | None, at: str
) -> tuple[Graph, dict[str, Tensor] | None]:
    types = shapes(graph)
    if at not in rewrite.sites(graph, types):
        inner = next((one for one in bodies(graph, types) if at.startswith(f"{one.step}.")), None)
        if inner is not None:
            return _once_inside(graph, rewrite, state, inner, at)
    try:
        made = rewrite.apply(graph, types, at, state)
    except NoSiteError:  # an earlier place of the same rewrite took it along
        return graph, state
    return made, None if state is None else rewrite.weights(graph, made, at, state)


def _once_inside(
    graph: Graph, rewrite: Rewrite, state: dict[str, Tensor] | None, inner: Inside, at: str
) -> tuple[Graph, dict[str, Tensor] | None]:
    """A rewrite in the body of a step, for every copy of its weights."""
    place, body = at.removeprefix(f"{inner.step}."), inner.graph
    for prefix in inner.prefixes:
        body, own = _once(inner.graph, rewrite, None if state is None else inner.part(state, prefix), place)
        if state is not None and own is not None:
            kept = {key: t for key, t in state.items() if not key.startswith(prefix)}
            state = kept | {f"{prefix}{key}": t for key, t in own.items()}
    made = inner.put(graph, body)
    verify(made)
    return made, state
