"""What an objective, a turn or a check of a claim may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from assembler.errors import Problem, Span, near
from assembler.graph.core import Graph
from assembler.graph.values import covers, matching, with_items


@dataclass(frozen=True)
class Scene:
    """What an objective may read: values of the model's `graph` (None where it cannot be told), of the `models` made
    before, of the host in a phase of the kind "incubate", and of the average of the weights where one is kept.

    `graphs` are those of models that are not the run's.
    """

    graph: Graph | None
    models: tuple[str, ...] = ()
    changed: frozenset[str] = frozenset()
    kind: str = ""
    averaged: bool = False
    graphs: Mapping[str, Graph | None] = field(default_factory=dict)

    def own(self) -> list[str]:
        """The names of all values of the model in training."""
        assert self.graph is not None
        known = [n for n, _ in self.graph.outputs], self.graph.names, self.graph.nodes, self.graph.input_names
        return [*dict.fromkeys(n for names in known for n in names), *(["slot"] if self.kind == "incubate" else [])]

    def missing(self, name: str, beside: Sequence[str] = (), span: Span | None = None) -> Problem:
        """The complaint about a value that the model does not have; names `beside` could be meant too."""
        assert self.graph is not None
        hint = near(name, [*self.own(), *beside])
        head, _, last = name.rpartition(".")
        if not hint and head and any(covers(head, path) for path in (*self.graph.nodes, *self.graph.names)):
            hint = f"what nothing reads is left out; an output of the model keeps it: outputs: {{{last}: {name}}}"
        outputs = ", ".join(n for n, _ in self.graph.outputs)
        hint = hint or f"the model's outputs are {outputs}; a step's path is a value as well"
        return Problem(f"the model has no value '{name}'", span, hint=hint)

    def has(self, name: str) -> bool:
        """Whether the model in training has a value of that name; outputs of a step beyond its first
        count, its weights, and patterns that name any value."""
        assert self.graph is not None
        if name in self.own() or ("*" in name and matching(self.graph, name)):
            return True
        if self.kind == "incubate" and name.startswith("slot."):  # in some slot, which `plan` tells
            return any(path.endswith(name.removeprefix("slot")) for path in (*self.graph.nodes, *self.graph.names))
        more = with_items(self.graph, [name])
        return name in more.nodes or name in more.names
