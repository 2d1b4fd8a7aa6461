"""Base test classes for plug-ins: subclass one in a pytest file, fill in its attributes, and inherit the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn

from assembler.compile.lower import lower
from assembler.errors import GraphError
from assembler.graph.core import Graph
from assembler.graph.text import from_text, to_text
from assembler.graph.verify import verify
from assembler.infer.make import make
from assembler.infer.shape import shapes
from assembler.registry import Entry, lookup
from assembler.rewrites.drive import places, rewritten
from assembler.rewrites.modules import filled
from assembler.rewrites.spec import Order, order


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
        assert known == {f.name for f in fields(wanted)}, "the schema knows other options than the class has"  # type: ignore[arg-type]


def _outputs(made: Any) -> list[Tensor]:
    return list(made.values()) if isinstance(made, dict) else [made]


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
