"""What a rewrite is: places where it may go, an edit of the graph there, and the weights that the edit calls for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Self

from assembler.errors import AssemblerError, GraphError, near
from assembler.graph.core import Graph, TensorType
from assembler.graph.verify import verify

if TYPE_CHECKING:
    from torch import Tensor

Types = Mapping[str, TensorType]
Weights = Mapping[str, "Tensor"]
"""A model's `state_dict`."""
Values = Callable[[str, int], "Tensor"]
"""What a model's value at a path, with its features on an axis, is on some samples: [positions, features]."""


class Rewrite:
    """Base of the frozen dataclasses under `@rewrite`; a rewrite's fields are its options.

    A subclass has `sites` and `edit`, and `computed` where weights are not simply carried over. `keeps` says whether
    the model computes the same function in evaluation mode with the default options; where options decide,
    `keeps_function` is overridden. One that `settles` makes the graph simpler, and is applied until no site is left.
    """

    keeps: ClassVar[bool] = True
    settles: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The rewrite as messages call it."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def where(self) -> str:
        """The sites in words, as `sites` describes them: "the activations behind a layer"."""
        said = (self.sites.__doc__ or "places that it knows").split(".")[0].strip()
        return said[:1].lower() + said[1:]

    @property
    def keeps_function(self) -> bool:
        """Whether the rewritten model with its computed weights does in evaluation what the model did."""
        return self.keeps

    @property
    def needs_weights(self) -> bool:
        """Whether what becomes of the graph depends on the weights."""
        return False

    @property
    def needs_values(self) -> bool:
        """Whether what becomes of the model depends on its values on data, which a run has."""
        return False

    @property
    def needs_model(self) -> bool:
        """Whether what becomes of a graph cannot be told without a trained model."""
        return self.needs_weights or self.needs_values

    def informed(self, values: Values) -> Self:
        """The rewrite with the values of the model on data, which one that needs them has a field `_values` for."""
        return replace(self, _values=values)  # type: ignore[type-var]

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The paths where the rewrite may be applied, in order."""
        raise NotImplementedError

    def hindrance(self, graph: Graph, types: Types, at: str) -> str:
        """What keeps a step from being a site beside weights that others use, "" where the rewrite is for others."""
        del graph, types, at
        return ""

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with the rewrite applied at one of its sites. `state` is None where no weights are known."""
        raise NotImplementedError

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """The tensors of `after` that are not to be copied by path or newly drawn, by `state_dict` key."""
        del before, after, at, state
        return {}

    def apply(self, graph: Graph, types: Types, at: str, state: Weights | None = None) -> Graph:
        """The graph rewritten at `at`, verified before and after; inputs and outputs keep names and types.

        `types` are those that `shapes` gives. Raises NoSiteError where `at` is no site, GraphError where the
        result does not fit.
        """
        verify(graph)
        known = self.sites(graph, types)
        if at not in known:
            raise no_site(self, at, known)
        made = self.edit(graph, types, at, state)
        from assembler.infer.shape import shapes

        try:
            verify(made)
            after = shapes(made)
        except AssemblerError as error:
            said = error.problems[0]
            raise GraphError(f"{self.name} at '{at}': {said.message}", path=at, hint=said.hint) from error
        for (name, i), (other, j) in zip(graph.outputs, made.outputs, strict=True):
            if name != other or types[i] != after[j]:
                raise GraphError(f"{self.name} at '{at}' makes output '{name}' {after[j]}, it was {types[i]}", path=at)
        return made

    def weights(self, before: Graph, after: Graph, at: str, state: Weights) -> dict[str, Tensor]:
        """The `state_dict` of `after`: computed, else copied by path where it fits, else newly drawn."""
        from assembler.rewrites.carry import carried

        return carried(before, after, state, self.computed(before, after, at, state))


class NoSiteError(GraphError):
    """A rewrite cannot be applied at the place that was named."""


def no_site(rewrite: Rewrite, at: str, known: tuple[str, ...], hint: str = "", why: str = "") -> NoSiteError:
    """The error that says where a rewrite can be applied instead, unless there is a better `hint`; and why not here."""
    some = ", ".join(known[:4]) + (", ..." if len(known) > 4 else "")
    hint = hint or near(at, known) or (f"it can go to {some}" if known else "there is no place for it in this model")
    return NoSiteError(f"{rewrite.name} cannot be applied at '{at}'{': ' * bool(why)}{why}", path=at, hint=hint)


def no_site_at_all(rewrite: Rewrite, graph: Graph, hint: str = "") -> NoSiteError:
    """The error for a rewrite that has no place anywhere in a graph, unless there is a better `hint`."""
    hint = hint or f"it applies to {rewrite.where}"
    return NoSiteError(f"there is no site for {rewrite.name} in {graph.name}", hint=hint)
