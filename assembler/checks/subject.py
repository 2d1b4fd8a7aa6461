"""The model that a check measures: random or real inputs, and the values of any of its steps for them.

Everything is computed in float64 unless the claim says otherwise, so that what is measured is the model's algebra and
not its rounding.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from assembler.assemble.hybrid import value_paths, values_of
from assembler.assemble.weights import load_there
from assembler.checks.derived import Derived
from assembler.compile.lower import lower
from assembler.compile.model import graph_of
from assembler.errors import AssemblerError, InputError, RecipeError, near
from assembler.graph.core import ITEM, Graph, TensorType
from assembler.graph.edit import prune
from assembler.graph.modes import Mode, in_mode
from assembler.graph.reach import computed
from assembler.graph.structure import flatten, pack
from assembler.graph.values import with_items
from assembler.infer.shape import dtype_of, shapes
from assembler.recipe.values import Map
from assembler.train.steps import free

if TYPE_CHECKING:
    from assembler.checks.openings import Openings

Weights = Mapping[str, Tensor]
BEFORE = "before"
"""How the names of values begin that a model had before it was rewritten."""


@dataclass(frozen=True)
class Setup:
    """How a claim wants its model run.

    `ranges` are [low, high) of named inputs; without, floats are standard normal, integers 0 or 1. `batch` are the
    fields of real samples, which stand in the place of random ones; `size` is how many random ones there are, if that
    is not the graph's own batch. `steps` are further steps over named values, `beside` vars and blocks that they name.
    """

    mode: Mode = "eval"
    precision: torch.dtype = torch.float64
    ranges: Mapping[str, Sequence[float]] = field(default_factory=dict)
    batch: Weights | None = None
    size: int | None = None
    steps: Map = field(default_factory=Map)
    beside: Map = field(default_factory=Map)

    def derived(self, wanted: Sequence[str]) -> Derived:
        """What of the further steps the values `wanted` need. Raises RecipeError for what is wrong with them."""
        return Derived.of(self.steps, wanted, self.beside)


@dataclass
class Subject:
    """A model with its initial weights of `seed`, or with `weights`, and what is around it.

    `other` gives the graph of the recipe with changes, or of another recipe; `state` the weights of another time
    ("start", or a phase of the run); `opened` the recipe's choices; `before` is the model before its rewrites;
    `trained` are the paths that its phase trains, none where it trains all.
    """

    graph: Graph
    seed: int = 0
    setup: Setup = field(default_factory=Setup)
    weights: Weights | None = None
    other: Callable[[Mapping[str, Any], str], Graph] | None = None
    state: Callable[[str], Weights] | None = None
    opened: Callable[[], Openings] | None = None
    before: Subject | None = None
    trained: tuple[str, ...] = ()
    _made: dict[tuple[str, ...], tuple[nn.Module, dict[str, str]]] = field(default_factory=dict, repr=False)

    @property
    def plain(self) -> Graph:
        """The graph in the claim's mode."""
        return in_mode(self.graph, self.setup.mode)

    @cached_property
    def openings(self) -> Openings:
        """The open choices of the recipe."""
        assert self.opened is not None
        return self.opened()

    def random(self) -> random.Random:
        """Python's random numbers that the seed decides."""
        return random.Random(self.seed)

    def first(self, name: str) -> str:
        """The value that a check is about: the one named, or the model's first output."""
        return name or self.plain.outputs[0][0]

    def source(self, name: str) -> str:
        """The value that a check changes: the one named, or the model's first input."""
        return name or self.plain.input_names[0]

    def inputs(self) -> dict[str, Tensor]:
        """The inputs by name, always the same ones for a seed; of real samples all fields."""
        if self.setup.batch is not None:
            return {name: self._cast(t) for name, t in self.setup.batch.items()}
        types, plain = shapes(self.plain), self.plain
        self._check_ranges(plain)
        kinds = {name: self._sized(types[name]) for name in plain.input_names}
        return {name: self.draw(name, kind, at) for at, (name, kind) in enumerate(kinds.items())}

    def _sized(self, kind: TensorType) -> TensorType:
        return kind if self.setup.size is None else replace(kind, shape=(self.setup.size, *kind.shape[1:]))

    def draw(self, name: str, kind: TensorType, stream: int) -> Tensor:
        """A random tensor of a type, in the range of that name; `stream` tells draws apart."""
        source, dtype = self.generator(stream), dtype_of(kind.dtype)
        if dtype.is_floating_point:
            if name not in self.setup.ranges:
                return torch.randn(kind.shape, generator=source, dtype=self.setup.precision)
            low, high = self.setup.ranges[name]
            unit = torch.rand(kind.shape, generator=source, dtype=self.setup.precision)
            return low + (high - low) * unit
        low, high = self.whole_range(name)
        return torch.randint(low, high, kind.shape, generator=source).to(dtype)

    def redraw(self, name: str, given: Tensor, stream: int = 0) -> Tensor:
        """Another tensor like `given` with no element left as it is."""
        source = self.generator(1000 + stream)
        if given.is_floating_point():
            spread = given.detach().std() if given.numel() > 1 else torch.ones(())
            fresh = torch.randn(given.shape, generator=source, dtype=given.dtype)
            return given.detach() + fresh * torch.where(spread > 0, spread, torch.ones_like(spread))
        if given.dtype == torch.bool:
            return ~given
        low, high = self.whole_range(name)
        shift = torch.randint(1, max(2, high - low), given.shape, generator=source)
        return low + (given - low + shift.to(given.dtype)) % (high - low)

    def generator(self, stream: int) -> torch.Generator:
        """Random numbers that the seed and `stream` decide."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + stream)

    def whole_range(self, name: str) -> tuple[int, int]:
        """[low, high) of whole numbers of that name."""
        low, high = self.setup.ranges.get(name, (0, 2))
        return int(low), int(high)

    def value(self, name: str, inputs: Weights | None = None, **options: Any) -> Tensor:
        """The value of that name; as `values`."""
        return self.values([name], inputs, **options)[name]

    def values(
        self,
        names: Iterable[str],
        inputs: Weights | None = None,
        *,
        given: Weights | None = None,
        noise: int = 0,
        graded: bool = False,
    ) -> dict[str, Tensor]:
        """Values of one forward pass by name: outputs, steps, inputs, fields of the data, further steps of the claim.

        `given` puts tensors in the place of the model's own values; random steps draw the same numbers for the same
        `noise`; `graded` keeps what gradients need. Raises RecipeError for a value that there is not.
        """
        inputs, given, wanted = dict(inputs or self.inputs()), dict(given or {}), list(dict.fromkeys(names))
        inputs |= {name: given.pop(name) for name in list(given) if name in inputs}
        derived = self.setup.derived(wanted)
        needed = [n for n in self._own(wanted, derived, inputs) if n not in given]
        earlier = [n for n in needed if self.before is not None and n.startswith(f"{BEFORE}.")]
        needed = [n for n in needed if n not in earlier]
        with torch.set_grad_enabled(graded):
            found = {**inputs, **given, **self._forward(needed, inputs, given, noise)}
            if earlier and self.before is not None:
                names = {n.partition(".")[2]: n for n in earlier}
                made = self.before.values(names, inputs, noise=noise, graded=graded)
                found |= {names[inner]: value for inner, value in made.items()}
            found |= derived(found)
        return {name: found[name] if graded else found[name].detach() for name in wanted}

    def _own(self, wanted: Sequence[str], derived: Derived, inputs: Weights) -> list[str]:
        """The values of the model that are computed for the values `wanted`."""
        found = dict.fromkeys([*wanted, *derived.sources])
        return [name for name in found if name not in inputs and name not in derived.names]

    def reads(self, name: str, source: str) -> bool:
        """Whether the value `name` is computed from the value or input `source`, be it by way of a claim's steps."""
        inputs = self.plain.input_names
        own = self._own([name], self.setup.derived([name]), {})
        if source in own or name in inputs:
            return source in own
        graph = with_items(self.plain, [*own, source])
        ends = [n if n in inputs else value_paths(graph, [n])[n] for n in own]
        wanted = source if source in inputs else value_paths(graph, [source])[source]
        return wanted in computed(replace(graph, outputs=tuple((f"end{n}", i) for n, i in enumerate(ends))))

    def made_with(self, name: str) -> nn.Module:
        """The module that `value(name)` runs."""
        own = self._own([name], self.setup.derived([name]), self.inputs())
        return self.module(own)[0] if own else nn.Module()

    def module(self, names: Sequence[str] = (), opened: Sequence[str] = ()) -> tuple[nn.Module, dict[str, str]]:
        """The module of the steps that the values `names` need (all outputs if none), and those by output name.

        The values `opened` are inputs of it, called `given0`, `given1` and so on.
        """
        key = (*names, "", *opened)
        if key not in self._made:
            self._made[key] = self._lowered(names, opened)
        return self._made[key]

    def _lowered(self, names: Sequence[str], opened: Sequence[str]) -> tuple[nn.Module, dict[str, str]]:
        graph = with_items(self.plain, [*names, *opened])
        paths = value_paths(graph, names) if names else dict(graph.outputs)
        taken = {*graph.input_names}
        known = {free(f"value{n}", taken): name for n, name in enumerate(paths)}
        holes = value_paths(graph, opened)
        graph = values_of(graph, {safe: paths[name] for safe, name in known.items()})
        module = lower(_opened(graph, holes), seed=self.seed).to(self.setup.precision)
        if self.weights is not None:
            load_there(module, self.weights)
        return module.train(self.setup.mode == "train"), known

    def _forward(self, names: Sequence[str], inputs: Weights, given: Weights, noise: int) -> dict[str, Tensor]:
        if not names:
            return {}
        module, known = self.module(names, tuple(given))
        missing = [n for n in self.plain.input_names if n not in inputs]
        if missing:
            raise InputError(
                f"the data has no field '{missing[0]}', an input of the model", hint=near(missing[0], inputs)
            )
        fed = {n: inputs[n] for n in self.plain.input_names} | {f"given{n}": t for n, t in enumerate(given.values())}
        taken = graph_of(module, "check").input_names  # what does not depend on a value that is given does not take it
        fed = {name: tensor for name, tensor in fed.items() if name in taken}
        kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + noise)
            made = module(**pack(fed.items()))
        for name, buffer in module.named_buffers():
            buffer.data.copy_(kept[name])
        found = dict(flatten(made)) if isinstance(made, dict) else {next(iter(known)): made}
        return {known[safe]: value for safe, value in found.items()}

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.setup.precision) if tensor.is_floating_point() else tensor

    def _check_ranges(self, graph: Graph) -> None:
        known = [*graph.input_names, *graph.nodes, *graph.names]
        for name in self.setup.ranges:
            if name not in known:
                raise RecipeError(f"the model has no input '{name}'", hint=near(name, known))


def _opened(graph: Graph, holes: Mapping[str, str]) -> Graph:
    """The graph with inputs `given0`, ... in the place of some of its values."""
    if not holes:
        return graph
    types = shapes(graph)
    moved = {i: f"given{n}" for n, i in enumerate(holes.values())}
    nodes = {i: node if node.op == ITEM else node.reading(moved) for i, node in graph}  # other outputs are as they are
    inputs = (*graph.inputs, *((name, types[i]) for i, name in moved.items() if i in types))
    outputs = tuple((name, moved.get(i, i)) for name, i in graph.outputs)
    try:
        return prune(replace(graph, inputs=inputs, nodes=nodes, outputs=outputs))
    except AssemblerError as error:
        raise RecipeError(f"the value cannot be changed: {error.problems[0].message}") from error
