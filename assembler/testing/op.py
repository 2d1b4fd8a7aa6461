"""What every op keeps to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn

from assembler.infer.make import make
from assembler.registry import Entry, lookup


class OpContract:
    """What every op keeps to. `shapes` are the shapes of its inputs, their first axis the batch.

    The dtype is the model's: after `.to(torch.bfloat16)` or `.double()`, and with floating inputs cast alike, all
    floating outputs are of that dtype. An op takes it from its inputs and parameters. One that makes floating numbers
    of whole ones, or of nothing, is a module with an empty buffer, `register_buffer("like", torch.empty(0),
    persistent=False)`, whose dtype is the model's, since `.to` reaches buffers. Numbers of a dtype that the recipe
    itself names are of that one (`follows_dtype` is false).

    Override `inputs` where random numbers will not do. `passes_gradient` is false for an op that is constant in its
    inputs; `tolerance` is the absolute one between a sample alone and in a batch.

    >>> class TestDropPath(OpContract):
    ...     name = "drop_path"
    ...     args: ClassVar = {"p": 0.2}
    ...     shapes = ((3, 16, 4, 4),)
    """

    name: ClassVar[str]
    args: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    shapes: ClassVar[tuple[tuple[int, ...], ...]]
    dtype: ClassVar[torch.dtype] = torch.float32
    passes_gradient: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-5
    follows_dtype: ClassVar[bool] = True

    def inputs(self, batch: int = 3) -> list[Tensor]:
        """The inputs of that batch size, always the same ones: normal numbers, or zeros and ones for integers."""
        generator = torch.Generator().manual_seed(0)
        sizes = [(batch, *shape[1:]) for shape in self.shapes]
        if self.dtype.is_floating_point:
            return [torch.randn(size, generator=generator, dtype=self.dtype) for size in sizes]
        return [torch.randint(0, 2, size, generator=generator, dtype=self.dtype) for size in sizes]

    def entry(self) -> Entry:
        """The registry's entry of the op."""
        return lookup("op", self.name)

    def build(self, seed: int = 0, device: str = "cpu") -> nn.Module:
        """The op for `shapes`, as a module; a function comes wrapped in one without state."""
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(seed)
            made = make(self.entry(), self.args, self.shapes)
        return made if isinstance(made, nn.Module) else _Wrapped(made, self.entry())

    def run(self, module: nn.Module, *xs: Tensor) -> Any:
        """What the op makes; of several outputs each sample's numbers, side by side."""
        made = module(*xs)
        return torch.cat([x.reshape(x.shape[0], -1) for x in made], 1) if isinstance(made, tuple) else made

    def test_meta_device_gives_the_shape_of_a_real_run(self) -> None:
        real = _kinds(self.build()(*self.inputs()))
        meta = _kinds(self.build(device="meta")(*(x.to("meta") for x in self.inputs())))
        assert meta == real, f"{meta} on the meta device, {real} in a real run"

    def test_gradients_reach_parameters_and_inputs(self) -> None:
        module, xs = self.build().train(), self.inputs()
        wanted: dict[str, Tensor] = dict(module.named_parameters())
        if self.dtype.is_floating_point and self.passes_gradient:
            wanted |= {f"input {i}": x.requires_grad_() for i, x in enumerate(xs)}
        if not wanted:
            return
        out = self.run(module, *xs)
        (out * torch.linspace(-1, 2, out.numel()).reshape(out.shape)).sum().backward()
        for name, value in wanted.items():
            assert value.grad is not None, f"no gradient reaches {name}"
            assert value.grad.isfinite().all(), f"the gradient of {name} is not finite"
            assert value.grad.any(), f"the gradient of {name} is zero"

    def test_evaluation_is_deterministic(self) -> None:
        module = self.build().eval()
        first, again = (self.run(module, *self.inputs()) for _ in range(2))
        assert torch.equal(first, again), "two runs on the same input differ in evaluation"

    def test_a_sample_does_not_depend_on_its_batch(self) -> None:
        module = self.build().eval()
        together = self.run(module, *self.inputs())
        for i, row in enumerate(together.chunk(3)):
            alone = self.run(module, *(x[i : i + 1] for x in self.inputs()))
            torch.testing.assert_close(alone, row, atol=self.tolerance, rtol=1e-4)

    def test_state_dict_round_trip(self) -> None:
        first, second = self.build(seed=0).eval(), self.build(seed=1).eval()
        second.load_state_dict(first.state_dict())
        same = torch.equal(self.run(first, *self.inputs()), self.run(second, *self.inputs()))
        assert same, "two modules of one state dict differ: something that matters is not in it"

    def test_bfloat16_autocast(self) -> None:
        module = self.build().eval()
        with torch.autocast("cpu", torch.bfloat16):
            low = self.run(module, *self.inputs())
        assert low.shape == self.run(module, *self.inputs()).shape, "the shape is another under autocast"
        assert low.isfinite().all(), "the output is not finite under bfloat16 autocast"

    def test_follows_the_dtype_of_its_model(self) -> None:
        for dtype in (torch.bfloat16, torch.float64) if self.follows_dtype else ():
            module = self.build().to(dtype)
            xs = [x.to(dtype) if x.is_floating_point() else x for x in self.inputs()]
            for mode in (True, False):
                made = module.train(mode)(*xs)
                for x in made if isinstance(made, tuple) else (made,):
                    assert x.dtype == dtype or not x.is_floating_point(), f"a {dtype} model's op makes {x.dtype}"

    def test_exports_with_any_batch(self) -> None:
        module, xs = self.build().eval(), tuple(self.inputs())
        batch = {0: torch.export.Dim.DYNAMIC}
        starred = self.entry().variadic or isinstance(module, _Wrapped)
        dynamic = ((batch,) * len(xs),) if starred else (batch,) * len(xs)
        exported = torch.export.export(module, xs, dynamic_shapes=dynamic, strict=False).module()
        for n in (3, 5):
            torch.testing.assert_close(exported(*self.inputs(n)), module(*self.inputs(n)))

    def test_function_traces_to_a_graph(self) -> None:
        module = self.build()
        if isinstance(module, _Wrapped):
            traced = _trace(module, len(self.shapes))
            for n in (1, 3):
                torch.testing.assert_close(traced(*self.inputs(n)), module(*self.inputs(n)))

    def test_repr(self) -> None:
        assert repr(self.build()), "repr is empty"


class _Wrapped(nn.Module):
    """A function op as a module without state."""

    def __init__(self, call: Callable[..., Any], entry: Entry) -> None:
        super().__init__()
        self.call, self.entry = call, entry

    def forward(self, *xs: Tensor) -> Any:
        if self.entry.variadic:
            return self.call(*xs)
        return self.call(**dict(zip(self.entry.inputs, xs, strict=False)))


def _trace(module: _Wrapped, inputs: int) -> fx.GraphModule:
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    xs: list[Any] = [fx.Proxy(graph.placeholder(f"x{i}"), tracer) for i in range(inputs)]
    out = module.forward(*xs)
    graph.output(tuple(o.node for o in out) if isinstance(out, tuple) else out.node)
    return fx.GraphModule(nn.Module(), graph)


def _kinds(made: Any) -> str:
    return " and ".join(f"{x.dtype} {list(x.shape)}" for x in (made if isinstance(made, tuple) else (made,)))
