"""Further steps of a claim over the model's values, so that a check can be about a sum or a difference of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from assembler.compile.lower import lower
from assembler.errors import Problem, RecipeError
from assembler.graph.core import Graph, TensorType
from assembler.recipe.notes import in_order
from assembler.recipe.values import Map
from assembler.train.steps import draft, names_in


@dataclass(frozen=True)
class Derived:
    """Steps over named values. `sources` are the values that they read, `names` those that they make."""

    graph: Graph
    inputs: Mapping[str, str]
    names: tuple[str, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The named values that the steps read."""
        return tuple(self.inputs.values())

    @classmethod
    def of(cls, steps: Map, wanted: Sequence[str], beside: Map) -> Derived:
        """What of `steps` the values `wanted` need; `beside` are the vars and blocks that they name.

        Raises RecipeError for what is wrong with them.
        """
        own = set(names_in(steps))
        mine = [name for name in wanted if name.partition(".")[0] in own]
        if not mine:
            return cls(Graph((), {}, ()), {}, ())
        problems: list[Problem] = []
        ends = [*mine, *steps.keys()]  # another value of the check may read those
        graph, inputs, _ = draft(steps, ends, problems, beside)
        if problems:
            raise RecipeError(in_order(problems))
        return cls(replace(graph, outputs=graph.outputs[: len(mine)]), inputs, tuple(mine))

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values that the steps make. Raises RecipeError where they have weights, or refuse a shape."""
        if not self.names:
            return {}
        given = [values[name] for name in self.sources]
        kinds = tuple((i, _type(t)) for i, t in zip(self.inputs, given, strict=True))
        module = lower(replace(self.graph, inputs=kinds))
        if weights := next((name for name, _ in module.named_parameters()), ""):
            raise RecipeError(
                f"the step '{weights.rpartition('.')[0]}' of a claim has weights of its own",
                hint="make it a step of the model and read its value; {op: zero} of a value is zeros of its shape",
            )
        floats = [t.dtype for t in given if t.is_floating_point()]
        made = module.to(floats[0])(*given) if floats else module(*given)  # what a step makes itself is of that dtype
        return dict(zip(self.names, made.values() if isinstance(made, dict) else [made], strict=True))


def _type(tensor: Tensor) -> TensorType:
    dtype = "float32" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
    return TensorType(tuple(tensor.shape), dtype)
