"""A sub-graph whose weights are a weighted sum of several sets of weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call

from assembler.errors import ShapeError
from assembler.registry import Body, op

BY = "by"
"""The input that says how much of each set there is."""


@op("blend")
class Blend(nn.Module):
    """Calls its body with weights that are a sum over several sets, by[0] W_0 + by[1] W_1 + ..., for every tensor.

    `by` [K] is an input and says how many sets there are; the body knows all inputs by name. The same sets under other
    numbers are other layers: on a line through depth (learngene, Xia et al. 2024, arXiv 2312.05614), between models
    (model soups), or as a router says (Munoz et al. 2023, arXiv 2306.03745). It makes the body's first output.
    `unblend` lays one out as steps with weights of their own.
    """

    def __init__(self, body: Body) -> None:
        super().__init__()
        kind = body.types.get(BY)
        if kind is None or len(kind.shape) != 1:
            said = "nothing" if kind is None else str(list(kind.shape))
            hint = "from: {x: input, by: at}, and at: {op: literal, values: [1, 0.5], shape: [2]}"
            raise ShapeError(
                f"blend reads under 'by' how much of each set of weights there is, [K], not {said}", hint=hint
            )
        self.output = body.outputs[0]
        self.sets = nn.ModuleList(body.build(body.types, str(n)) for n in range(kind.shape[0]))

    def forward(self, **values: Tensor) -> Tensor:
        """What the body makes with the sum of the sets."""
        named = [dict(one.named_parameters()) for one in self.sets]
        weights = {name: sum(n * one[name] for n, one in zip(values[BY], named, strict=True)) for name in named[0]}
        made: Tensor = functional_call(self.sets[0], weights, (), values)[self.output]
        return made
