"""The modules and functions that compute the steps of a graph, with their initial weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from assembler.compile.undrawn import undrawn
from assembler.errors import GraphError, near
from assembler.graph.core import ITEM, Graph, Init, TensorType
from assembler.graph.shares import owner_of
from assembler.infer.shape import shapes
from assembler.infer.step import step_of
from assembler.infer.ties import tie
from assembler.registry import lookup

Lower = Callable[[Graph, "Steps"], nn.Module]


@dataclass(frozen=True)
class Steps:
    """Makes the steps of one graph, each once, with weights that depend on the seed and the step's path alone.

    `lower` makes the module of a body; `prefix` is what stands before the paths of its steps.
    """

    graph: Graph
    types: Mapping[str, TensorType]
    seed: int | None
    device: str | torch.device
    lower: Lower
    prefix: str = ""
    made: dict[str, Any] = field(default_factory=dict, compare=False)

    def __call__(self, i: str) -> Callable[..., Any]:
        """What computes the step `i`. To be called under `seeding(seed)`, in the graph's order."""
        if i not in self.made:
            item = self.graph.nodes[i].op == ITEM  # which the compiler takes of what its source makes
            self.made[i] = None if item else self._made(i)
        return self.made[i]  # type: ignore[no-any-return]

    def of_mode(self, graph: Graph, types: Mapping[str, TensorType]) -> Steps:
        """The steps of one mode: the modules are those made so far, functions are for values of `types`."""
        made = {i: step for i, step in self.made.items() if isinstance(step, nn.Module)}
        return replace(self, graph=graph, types=types, made=made)

    def owner(self, i: str) -> str:
        """The step whose module computes the step `i`: the one that it shares as a whole, or itself."""
        owner = self.graph.nodes[i].owner
        if not owner or not _has_weights(self(owner)):
            return i
        own, other = self.graph.nodes[i], self.graph.nodes[owner]
        if own.args != other.args or own.body != other.body:
            what = f"'{i}' cannot use the weights of '{owner}', whose arguments differ"
            raise GraphError(what, path=i, hint="give both the same, or share one parameter: {weight: a.weight}")
        return owner

    def _made(self, i: str) -> Callable[..., Any]:
        node = self.graph.nodes[i]
        if node.owner and (owner := self.owner(i)) != i:
            self._check_widths(i, owner)
            return self(owner)
        step = self._fresh(i)
        for name, path in node.share if not node.owner else ():
            other, parameter = owner_of(path, self.graph.nodes)
            try:
                tie(step, name, self(other), parameter)
            except GraphError as error:
                raise GraphError(error.problems[0].message, path=i, hint=error.problems[0].hint) from error
        if node.init:
            begin(i, step, node.init)
        if node.frozen and isinstance(step, nn.Module):
            step.requires_grad_(False).eval()
        return step

    def _fresh(self, i: str) -> Callable[..., Any]:
        node = self.graph.nodes[i]
        types = [self.types[s] for s in node.sources]

        def lower(body: Graph, name: str) -> nn.Module:
            prefix = f"{self.prefix}{i}.{name}." if name else f"{self.prefix}{i}."
            return self.lower(body, Steps(body, shapes(body), self.seed, self.device, self.lower, prefix))

        if torch.device(self.device).type == "meta":
            with torch.device("meta"):
                return step_of(node, types, lower, shapes)
        if self.seed is not None and lookup("op", node.op).shape != "function":
            torch.default_generator.manual_seed(step_seed(self.seed, f"{self.prefix}{i}"))
        replaced = {name for name, _ in node.init}  # by torch's initialisers, none of which looks at what was there
        step = undrawn(lambda: step_of(node, types, lower, shapes), replaced)
        return step.to(self.device) if isinstance(step, nn.Module) and str(self.device) != "cpu" else step

    def _check_widths(self, i: str, owner: str) -> None:
        ours, theirs = ([self.types[s].shape[1:] for s in self.graph.nodes[n].sources] for n in (i, owner))
        if ours == theirs:
            return
        with torch.device("meta"):
            own = step_of(self.graph.nodes[i], [self.types[s] for s in self.graph.nodes[i].sources], _bodiless, shapes)
        shared, needed = self(owner), _sizes(own)
        if needed != _sizes(shared):
            what = f"'{i}' cannot use the weights of '{owner}': it needs {needed}, and they are {_sizes(shared)}"
            raise GraphError(what, path=i, hint="the inputs of both must have one width")


def begin(i: str, step: Any, rules: tuple[Init, ...]) -> None:
    """Fill parameters of a step by the initialisers that rules name, but those on `meta`.

    Steps that can have it and go without (`bias: false`) are passed over, so that a model's rule serves all steps.
    Raises GraphError where the step has no such parameter or the initialiser refuses it.
    """
    known = dict(step.named_parameters()) if isinstance(step, nn.Module) else {}
    for name, ((_, which), *args) in rules:
        if name in known:
            if known[name].is_meta:
                continue
            try:
                lookup("initializer", str(which)).load()(known[name], **dict(args))
            except (ValueError, TypeError) as error:
                raise GraphError(f"{which} cannot initialise '{name}' of '{i}': {error}", path=i) from error
        elif not isinstance(step, nn.Module) or not _goes_without(step, name):
            hint = near(name, known) or (f"it has {', '.join(known)}" if known else "it has none")
            raise GraphError(f"'{i}' has no parameter '{name}' to initialise", path=i, hint=hint)


def _goes_without(step: nn.Module, name: str) -> bool:
    """Whether a module has declared a parameter that it does not have, as torch's own do."""
    owner, _, parameter = name.rpartition(".")
    found: nn.Module | None = step
    for part in owner.split(".") if owner else ():
        found = found._modules.get(part) if found is not None else None
    return found is not None and parameter in found._parameters


def _bodiless(body: Graph, name: str) -> nn.Module:
    return nn.Module()


def _has_weights(step: Any) -> bool:
    return isinstance(step, nn.Module) and any(True for _ in (*step.parameters(), *step.buffers()))


def _sizes(step: Any) -> dict[str, list[int]]:
    return {n: list(p.shape) for n, p in step.named_parameters()} if isinstance(step, nn.Module) else {}


@contextmanager
def seeding(seed: int | None) -> Iterator[None]:
    """Keeps the seeding of steps away from torch's own generator, which is left as it was found."""
    if seed is None:
        yield
    else:
        with torch.random.fork_rng(devices=[]):
            yield


def step_seed(seed: int, path: str) -> int:
    """The seed that a step's weights are drawn from."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{path}".encode(), digest_size=7).digest(), "big")
