"""The gradient of what a sub-graph computes, as a value: penalties on gradients, forces of an energy, scores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from assembler.errors import ShapeError
from assembler.graph.core import TensorType
from assembler.modules.nested import Nested
from assembler.registry import Body, op


@op(
    "gradient",
    outputs_from=("by", "collect"),
    inputs_from=("by",),
    asks=("of",),
    lends=True,
    eager="torch.export cannot hold a gradient that a model computes: export the formats safetensors and source",
)
class Gradient(Nested):
    """The gradient of the sum of an output of the body, by the inputs that `by` names: one value each, of its shape.

    `of` names the output, by default the body's first; where it has an element for each sample, [B] or [B, 1], these
    are the gradients of the samples. Then come the outputs of the body that `collect` names, as they are. What the
    gradient depends on gets gradients itself where torch follows them, also of another `gradient` in the body (second
    derivatives); without (`torch.no_grad`, `torch.inference_mode`) the values are the same. What does not depend on
    an input has a gradient of zeros by it. Torch's compiler leaves this step as it is.

    Raises ShapeError where `by` names no floating-point input. An exported program (`.pt2`, ONNX) cannot hold it.
    """

    def __init__(self, body: Body, by: tuple[str, ...], of: str = "", collect: tuple[str, ...] = ()) -> None:
        super().__init__()
        if not by:
            raise ShapeError("gradient needs an input in 'by'", hint="for instance by: [x]")
        for name in by:
            _check_by(name, body.types)
        if twice := [name for name in collect if name in by]:
            hint = "collect the value under another name: the body can have two outputs of one step"
            raise ShapeError(f"gradient would have two outputs called '{twice[0]}'", hint=hint)
        self.by, self.of, self.collect = by, of or body.outputs[0], collect
        self.hold(body.build(body.types))

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # it cannot follow gradients twice
    def forward(self, **values: Tensor) -> tuple[Tensor, ...]:
        """The gradients by the inputs in `by`, then what is collected."""
        keep = torch.is_grad_enabled()
        with following():
            given = {name: followed(x, name in self.by, keep) for name, x in values.items()}
            made = self.body(**given)
            beside = [made[name] for name in self.collect]
            return gradients(made[self.of], [given[name] for name in self.by], beside, keep)


@contextlib.contextmanager
def following() -> Iterator[None]:
    """Torch follows gradients, whatever it does around, through kernels that have second derivatives."""
    with torch.inference_mode(False), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        yield


def followed(x: Tensor, by: bool, keep: bool) -> Tensor:
    """An input as the body gets it: one that gradients are taken `by` as a value of its own."""
    x = x.clone() if x.is_inference() else x
    if not by:
        return x
    return x.view_as(x) if keep and x.requires_grad else x.detach().requires_grad_()


def gradients(value: Tensor, by: Sequence[Tensor], beside: Sequence[Tensor], keep: bool) -> tuple[Tensor, ...]:
    """The gradients of the sum of `value`, and other values; without `keep` none of them has a gradient."""
    found = [torch.zeros_like(x) for x in by]
    if value.requires_grad:
        found = list(torch.autograd.grad(value.sum(), by, create_graph=keep, materialize_grads=True))
    return *found, *(x if keep else x.detach() for x in beside)


def _check_by(name: str, types: Mapping[str, TensorType]) -> None:
    if name not in types:
        reads = ", ".join(types) or "nothing"
        hint = f"name it under 'from', as in from: {{{name}: ...}}"
        raise ShapeError(f"gradient is by '{name}', which is not among what it reads: {reads}", hint=hint)
    if not types[name].dtype.startswith(("float", "bfloat", "complex")):
        raise ShapeError(f"gradient is by '{name}', which is {types[name].dtype}", hint="{op: cast, dtype: float}")
