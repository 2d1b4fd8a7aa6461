"""Applying rewrites: at which of their sites, one after the other, the weights along with the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from assembler.graph.core import Graph
from assembler.infer.shape import shapes
from assembler.rewrites.core import NoSiteError, Rewrite, no_site

if TYPE_CHECKING:
    from torch import Tensor

ALL = "*"


def rewritten(
    graph: Graph, rewrite: Rewrite, state: Mapping[str, Tensor] | None = None, at: str = ALL
) -> tuple[Graph, dict[str, Tensor] | None]:
    """The graph after a rewrite at every site that `at` means, and the weights for it if `state` is given.

    `at` is a path, a container, or a pattern in which `*` stands for one part of a path; `*` alone means all sites.
    Raises GraphError where it means none.
    """
    found = None if state is None else dict(state)
    for place in places(rewrite, graph, at):
        graph, found = _once(graph, rewrite, found, place)
    while rewrite.settles and (left := matching(graph, rewrite.sites(graph, shapes(graph)), at)):
        graph, found = _once(graph, rewrite, found, left[0])
    return graph, found


def places(rewrite: Rewrite, graph: Graph, at: str) -> tuple[str, ...]:
    """The sites that `at` means. Raises GraphError, with the nearest ones, where it means none."""
    known = rewrite.sites(graph, shapes(graph))
    if at != ALL and ALL not in at:
        graph.resolve(at)
    found = matching(graph, known, at)
    if not found and at != ALL:
        raise no_site(rewrite, at, known, _inside(rewrite, graph, at))
    return found


def _inside(rewrite: Rewrite, graph: Graph, at: str) -> str:
    """A hint at the blocks that `at` means, where a rewrite has a site among the steps that they consist of."""
    from assembler.rewrites.expand import Expand

    blocks, made = matching(graph, Expand().sites(graph, shapes(graph)), at), graph
    for block in blocks:
        made = Expand().apply(made, shapes(made), block)
    if not any(matching(made, rewrite.sites(made, shapes(made)), block) for block in blocks):
        return ""
    return f"'{blocks[0]}' is {graph.nodes[blocks[0]].op}, one step; `expand` lays it out as steps, do that first"


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
    try:
        made = rewrite.apply(graph, shapes(graph), at, state)
    except NoSiteError:  # an earlier place of the same rewrite took it along
        return graph, state
    return made, None if state is None else rewrite.weights(graph, made, at, state)
