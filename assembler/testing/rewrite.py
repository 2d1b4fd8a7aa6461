"""What every rewrite keeps to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from assembler.compile.lower import lower
from assembler.errors import GraphError
from assembler.graph.core import Graph
from assembler.graph.text import from_text, to_text
from assembler.graph.verify import verify
from assembler.infer.shape import shapes
from assembler.registry import lookup
from assembler.rewrites.drive import places, rewritten
from assembler.rewrites.modules import filled
from assembler.rewrites.spec import Order, order


class RewriteContract:
    """What every rewrite keeps to. `graph` is a model in text form where it has a site, with floating-point inputs.

    `options` are the rewrite's fields, `at` where it is applied. `tolerance` bounds the relative error of one that
    keeps the function, in double precision.

    >>> class TestLowRank(RewriteContract):
    ...     name = "low_rank"
    ...     options: ClassVar = {"rank": 2}
    ...     graph = 'graph "m" (%x: float32[2, 4]) {\\n%y = linear(input=%x) {out = 3}\\nreturn y = %y\\n}'
    """

    name: ClassVar[str]
    graph: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    at: ClassVar[str] = "*"
    tolerance: ClassVar[float] = 1e-5

    def order(self) -> Order:
        """The rewrite, as a recipe would give it."""
        return order({"rewrite": self.name, **self.options}, self.at)

    def before(self) -> Graph:
        """The graph that is rewritten."""
        return from_text(self.graph)

    def module(self) -> nn.Module:
        """Its module in double precision and evaluation mode; weights and statistics are drawn anew."""
        module = lower(self.before()).double().eval()
        generator = torch.Generator().manual_seed(0)
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.copy_(drawn.abs() + 0.3 if name.endswith("running_var") else 0.5 * drawn)
        return module

    def test_has_sites_and_refuses_other_places(self) -> None:
        wanted, graph = self.order(), self.before()
        types = shapes(graph)
        found = places(wanted.rewrite, graph, wanted.at)
        assert found, "the graph has no site"
        assert wanted.rewrite.sites(graph, types) == wanted.rewrite.sites(graph, types)
        for path in {*graph.nodes, *graph.names, "nothing.there"} - {*wanted.rewrite.sites(graph, types)}:
            try:
                wanted.rewrite.apply(graph, types, path)
            except GraphError:
                continue
            raise AssertionError(f"it was applied at '{path}', which is no site")

    def test_gives_a_sound_graph_and_leaves_the_given_one(self) -> None:
        wanted, graph = self.order(), self.before()
        state = self.module().state_dict() if wanted.rewrite.needs_weights else None
        made, _ = rewritten(graph, wanted.rewrite, state, wanted.at)
        verify(made)
        assert graph == self.before(), "the given graph was changed"
        assert made != graph, "nothing was changed"
        assert made.inputs == graph.inputs, "the inputs are others"
        assert from_text(to_text(made)) == made, "the text form says something else"
        old, new = shapes(graph), shapes(made)
        assert [(n, old[i]) for n, i in graph.outputs] == [(n, new[i]) for n, i in made.outputs]

    def test_weights_are_those_of_the_new_graph(self) -> None:
        wanted, module = self.order(), self.module()
        given = {k: t.clone() for k, t in module.state_dict().items()}
        made, state = rewritten(self.before(), wanted.rewrite, module.state_dict(), wanted.at)
        assert state is not None
        needed = lower(made).state_dict()
        assert {k: t.shape for k, t in state.items()} == {k: t.shape for k, t in needed.items()}
        assert all(t.dtype == torch.float64 for t in state.values() if t.is_floating_point()), "the dtype is lost"
        assert all(torch.equal(t, given[k]) for k, t in module.state_dict().items()), "the given weights were changed"

    def test_keeps_the_function_if_it_says_so(self) -> None:
        wanted, module = self.order(), self.module()
        made, state = rewritten(self.before(), wanted.rewrite, module.state_dict(), wanted.at)
        generator = torch.Generator().manual_seed(1)
        xs = [torch.randn(kind.shape, generator=generator, dtype=torch.float64) for _, kind in made.inputs]
        with torch.no_grad():
            first, second = _outputs(module(*xs)), _outputs(filled(made, state or {}).eval()(*xs))
        gap = max(float((a - b).abs().max() / a.abs().max().clamp_min(1.0)) for a, b in zip(first, second, strict=True))
        assert gap <= self.tolerance or not wanted.rewrite.keeps_function, f"the function changes by {gap:.2g}"

    def test_options_are_frozen_fields(self) -> None:
        wanted = self.order().rewrite
        assert wanted == self.order().rewrite
        assert hash(wanted) == hash(self.order().rewrite)
        known = {p.name for p in lookup("rewrite", self.name).params}
        own = {f.name for f in fields(wanted) if not f.name.startswith("_")}  # type: ignore[arg-type]
        assert known == own, "the schema knows other options than the class has"


def _outputs(made: Any) -> list[Tensor]:
    return list(made.values()) if isinstance(made, dict) else [made]
