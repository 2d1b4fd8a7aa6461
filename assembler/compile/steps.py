"""The modules and functions that compute the steps of a graph, with their initial weights."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from assembler.compile.undrawn import filled, refusal, undrawn
from assembler.errors import AssemblerError, GraphError, InputError, Problem, near
from assembler.graph.core import ITEM, Graph, Init, Node, TensorType
from assembler.graph.shares import TRANSPOSED, is_across, owner_of, parts
from assembler.infer.shape import other_arguments, shapes
from assembler.infer.step import step_of
from assembler.infer.ties import tie
from assembler.registry import lookup

Lower = Callable[[Graph, "Steps"], nn.Module]


@dataclass(frozen=True)
class Steps:
    """Makes the steps of one graph, each once, with weights that depend on the seed and the step's path alone.

    `lower` makes the module of a body; `prefix` is what stands before the paths of its steps, and `around` makes those
    of the graph around it. `inner` are the steps of the bodies of steps that are made. A module is the same in all
    modes (`modules`), and functions are those of one mode (`made`).
    """

    graph: Graph
    types: Mapping[str, TensorType]
    seed: int | None
    device: str | torch.device
    lower: Lower
    prefix: str = ""
    around: Steps | None = None
    made: dict[str, Any] = field(default_factory=dict, compare=False)
    modules: dict[str, nn.Module] = field(default_factory=dict, compare=False)
    inner: dict[str, Steps] = field(default_factory=dict, compare=False)

    def __call__(self, i: str) -> Callable[..., Any]:
        """What computes the step `i`. To be called under `seeding(seed)`, in the graph's order."""
        if i in self.modules:
            return self.modules[i]
        if i not in self.made:
            item = self.graph.nodes[i].op == ITEM  # which the compiler takes of what its source makes
            made = self.made[i] = None if item else self._made(i)
            if isinstance(made, nn.Module):
                self.modules[i] = made
        return self.made[i]  # type: ignore[no-any-return]

    def of_mode(self, graph: Graph, types: Mapping[str, TensorType]) -> Steps:
        """The steps of one mode: the modules are those made so far, functions are for values of `types`."""
        return replace(self, graph=graph, types=types, made={})

    def is_lent(self, i: str) -> bool:
        """Whether the module that computes the step `i` is that of a step of another graph."""
        path = self.graph.nodes[i].owner
        return is_across(path) and self.owner(i) != (self, i)

    def owner(self, i: str) -> tuple[Steps, str]:
        """The step whose module computes the step `i`: the one that it shares as a whole, or itself."""
        path = self.graph.nodes[i].owner
        if not path:
            return self, i
        steps, owner, _ = self.lender(path)
        if not _has_weights(steps(owner)) and not steps.graph.nodes[owner].share:  # which may be held elsewhere
            return self, i
        own, other = self.graph.nodes[i], steps.graph.nodes[owner]
        if own.args != other.args or own.body != other.body:
            raise GraphError(other_arguments(i, own))
        return steps, owner

    def lender(self, path: str) -> tuple[Steps, str, str]:
        """What makes the step that a shared path names, its id, and the parameter in it."""
        up, (*through, last) = parts(path)
        here = self
        for _ in range(up):
            if here.around is None:
                raise GraphError(f"'{path}' is outside of {self.graph.name}", hint="compile the whole model")
            here = here.around
        for step in through:
            here(step)
            here = here.inner[step]
        return here, *owner_of(last, here.graph.nodes)

    def _made(self, i: str) -> Callable[..., Any]:
        node = self.graph.nodes[i]
        if node.owner and (found := self.owner(i)) != (self, i):
            self._check_widths(i, *found)
            return found[0](found[1])
        step = self._fresh(i)
        try:
            self._begin(i, step)
        except GraphError as error:
            raise GraphError(
                [replace(p, span=p.span or node.span, path=p.path or i) for p in error.problems]
            ) from error
        if node.frozen and isinstance(step, nn.Module):
            step.requires_grad_(False).eval()
        return step

    def _begin(self, i: str, step: Any) -> None:
        """Give a step the parameters of others that it uses, and its own the initial values that are asked for."""
        node = self.graph.nodes[i]
        for name, path in node.share if not node.owner else ():
            steps, other, parameter = self.lender(path)
            tie(step, name, steps(other), parameter)
        turned = [name for name, path in node.share if path.endswith(TRANSPOSED)]  # which begins as its owner does
        if rules := tuple(rule for rule in node.init if rule[0] not in turned):
            begin(i, step, rules)

    def _fresh(self, i: str) -> Callable[..., Any]:
        node = self.graph.nodes[i]
        types = [self.types[s] for s in node.sources]

        def lower(body: Graph, name: str) -> nn.Module:
            prefix = f"{self.prefix}{i}.{name}." if name else f"{self.prefix}{i}."
            inner = Steps(body, shapes(body), self.seed, self.device, self.lower, prefix, self)
            self.inner[i] = inner
            return self.lower(body, inner)

        if torch.device(self.device).type == "meta":
            with torch.device("meta"):
                return step_of(node, types, lower, shapes)
        if self.seed is not None and lookup("op", node.op).shape != "function":
            torch.default_generator.manual_seed(step_seed(self.seed, f"{self.prefix}{i}"))
        replaced = {name for name, _ in node.init}  # by torch's initialisers, none of which looks at what was there
        try:
            step = undrawn(lambda: step_of(node, types, lower, shapes), replaced)
        except (AssemblerError, RuntimeError, MemoryError) as error:
            if large := _too_large(i, node, types, error):
                raise large from error
            raise
        return step.to(self.device) if isinstance(step, nn.Module) and str(self.device) != "cpu" else step

    def _check_widths(self, i: str, steps: Steps, owner: str) -> None:
        node, other = self.graph.nodes[i], steps.graph.nodes[owner]
        types = [self.types[s] for s in node.sources]
        if [t.shape[1:] for t in types] == [steps.types[s].shape[1:] for s in other.sources]:
            return
        with torch.device("meta"):
            own = step_of(node, types, _bodiless, shapes)
        shared, needed = steps(owner), _sizes(own)
        if needed != _sizes(shared):
            what = f"'{i}' cannot use the weights of '{node.owner}': it needs {needed}, and they are {_sizes(shared)}"
            raise GraphError(Problem(what, node.span, i, "the inputs of both must have one width"))


def _too_large(i: str, node: Node, types: list[TensorType], error: BaseException) -> InputError | None:
    """What is to be said of a step whose weights find no memory; None where it fails for another reason."""
    causes = (error, error.__cause__)
    if not any(isinstance(e, MemoryError) or re.search("alloc|out of memory", str(e)) for e in causes):
        return None
    with torch.device("meta"):
        made = step_of(node, types, _bodiless, shapes)
    size = sum(p.numel() * p.element_size() for p in made.parameters()) if isinstance(made, nn.Module) else 0
    said = f"there is no memory for the weights of '{i}' ({node.op}), {size:,} bytes"
    return InputError(Problem(said, node.span, i, f"it reads {' and '.join(map(str, types)) or 'nothing'}"))


def begin(i: str, step: Any, rules: tuple[Init, ...]) -> None:
    """Fill parameters of a step by the initialisers that rules name; on `meta`, see whether they take them.

    Steps that can have it and go without (`bias: false`) are passed over, so that a model's rule serves all steps.
    Raises GraphError where the step has no such parameter or the initialiser refuses it.
    """
    known = dict(step.named_parameters()) if isinstance(step, nn.Module) else {}
    for name, ((_, which), *args) in rules:
        if name in known:
            if known[name].is_meta:
                wrong = refusal(tuple(known[name].shape), str(which), tuple(args))
            else:
                wrong = filled(known[name], str(which), args)
            if wrong:
                raise GraphError(f"{which} cannot initialise '{name}' of '{i}': {wrong}", path=i)
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
    return isinstance(step, nn.Module) and bool(step.state_dict())  # without numbers that the recipe says


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
