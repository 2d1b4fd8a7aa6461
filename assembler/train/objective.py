"""An objective at work: the graph that its terms are, lowered and called on named values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from assembler.compile.lower import lower
from assembler.errors import RecipeError, ShapeError, near
from assembler.graph.core import Graph, TensorType
from assembler.graph.edit import prune
from assembler.infer.shape import shapes
from assembler.train.terms import Spec, Term, Terms, read

Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """A weighted sum of loss terms over named values ("logits", "label", "teacher.logits", "host.stage.1")."""

    said: Terms
    _made: list[nn.Module] = field(default_factory=list, init=False, compare=False, repr=False)

    @classmethod
    def from_spec(cls, spec: Spec, *, path: str = "objective") -> Objective:
        """The objective that a recipe writes; see `assembler.train.terms.read`."""
        return cls(read(spec, path))

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms, in order."""
        return self.said.terms

    @property
    def needs(self) -> frozenset[str]:
        """The names of all values that are read."""
        return self.said.needs

    @property
    def given(self) -> Mapping[str, str]:
        """The values of other models that they are told, `teacher.keep`, and the named values which those are."""
        return self.said.given

    @property
    def graph(self) -> Graph:
        """The objective as a graph, which can be printed, drawn and fingerprinted; its inputs have no shapes yet."""
        return self.said.graph

    def __call__(self, values: Values) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar total and every term's own value, unweighted and detached, by name.

        Half precision is raised to float32 first. Raises RecipeError where a named value is missing or a step refuses
        the shapes that reach it.
        """
        try:
            given = [_full(values[name]) for name in self.said.names.values()]
        except KeyError as missing:
            raise self._unknown(missing.args[0], values) from None
        if not self._made:
            self._made.append(self._lowered(given))
        try:
            found = self._made[0](*given)
        except (RuntimeError, ValueError, IndexError) as error:
            raise self._refused(given, error) from error
        total, *terms = found.values()
        return total, {term.name: part.detach() for term, part in zip(self.terms, terms, strict=True)}

    def compares(self, term: Term) -> Callable[[Values], dict[str, Tensor]]:
        """A function from named values to what a term compares, "value" and "target", also where steps made them."""
        sources = dict(self.said.graph.outputs)
        i = sources[f"term{self.terms.index(term)}"]
        node = self.said.graph.nodes[i]
        if term.loss and node.op != term.loss:  # the mean of it
            node = self.said.graph.nodes[node.sources[0]]
        ends = dict(zip(("value", "target"), node.sources, strict=False))

        def both(values: Values) -> dict[str, Tensor]:
            named = {i: values[name] for i, name in self.said.names.items()}
            if all(i in named for i in ends.values()):
                return {name: named[i] for name, i in ends.items()}
            graph = prune(replace(self._typed(list(named.values())), outputs=tuple(ends.items())))
            found: dict[str, Tensor] = lower(graph, device=next(iter(named.values())).device)(*named.values())
            return found

        return both

    def _typed(self, given: list[Tensor]) -> Graph:
        kinds = [TensorType(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for t in given]
        return self.said.typed(dict(zip(self.said.names.values(), kinds, strict=True)))

    def _lowered(self, given: list[Tensor]) -> nn.Module:
        graph = self._typed(given)
        try:
            module = lower(graph, device=given[0].device)
        except ShapeError as error:
            raise self._shapeless(error) from error
        if weights := next((name for name, _ in module.named_parameters()), ""):
            step = weights if weights in graph.nodes else weights.rpartition(".")[0]
            raise RecipeError(
                f"the step '{step}' of the objective has weights, and nothing trains or keeps them",
                hint="make it a step of the model and read its value",
            )
        return module

    def _unknown(self, name: str, values: Values) -> RecipeError:
        hint = near(name, values) or "there are " + ", ".join(sorted(values))
        term = next((f"term '{t.name}'" for t in self.terms if name in dict(t.reads).values()), "the objective")
        return RecipeError(f"{term} reads '{name}', and there is no such value", hint=hint)

    def _refused(self, given: list[Tensor], error: Exception) -> Exception:
        """What to raise for an error of the lowered graph: the step that refuses its shapes, where that is why."""
        if isinstance(error, torch.OutOfMemoryError):
            return error
        try:
            shapes(self._typed(given))
        except ShapeError as why:
            return self._shapeless(why)
        return RecipeError(f"the objective cannot be computed: {(str(error).splitlines() or [''])[0]}")

    def _shapeless(self, error: ShapeError) -> RecipeError:
        problem = error.problems[0]
        return RecipeError(f"in the objective, {problem.message}", hint=problem.hint)


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
