"""Where a value or a gradient stops being a number: a model run again with a look at every step's result.

A run like this is slow and is made after the fact. What a step makes of `-inf` alone (a mask before a softmax) is no
fault as long as the outputs are finite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from assembler.compile.located import Located, step_at, step_in
from assembler.errors import Problem, Span
from assembler.graph.core import Node


def diagnose(
    module: nn.Module, *inputs: Any, loss: Callable[[Any], Tensor] | None = None, **named: Any
) -> Problem | None:
    """The first step whose value is not finite, or else whose gradient is not; None where all is finite.

    `loss` maps the module's result to a scalar; without it no gradient is looked at. The problem has the step's recipe
    path, its place in the recipe and a sentence. Weights, running statistics and gradients are left as they were.
    """

    def run() -> Any:
        made = module(*inputs, **named)
        return made if loss is None else loss(made)

    if bad := next((n for n, v in _inputs(module, inputs, named).items() if not all(map(_finite, _tensors(v)))), ""):
        return Problem(f"the input '{bad}' is not finite", path=bad)
    kept = {name: b.clone() for name, b in module.named_buffers()}
    with torch.random.fork_rng(devices=[]):
        found = first_bad(run)
    for name, buffer in module.named_buffers():
        buffer.data.copy_(kept[name])
    return found


def first_bad(run: Callable[[], Any]) -> Problem | None:
    """What `diagnose` says of the models that `run` calls; a scalar that it returns is taken for the loss.

    None where the models are given what is not finite.
    """
    modules = _called(run)
    log = _Log()
    with _watched(modules, log):
        made = run()
    if not all(map(_finite, _tensors(made))):
        return _value(log)
    if isinstance(made, Tensor) and made.ndim == 0 and made.requires_grad:
        return _gradient(log, made)
    return None


@dataclass
class _Seen:
    """One step as it ran: its path, what it was given, what it made, and the weights of its own."""

    path: str
    node: Node | None
    given: list[Tensor]
    made: list[Tensor]
    weights: dict[str, nn.Parameter]

    @property
    def name(self) -> str:
        """The step for people."""
        return f"{self.path} ({self.node.op})" if self.node else self.path

    @property
    def span(self) -> Span | None:
        """Where the recipe has it."""
        return self.node.span if self.node else None


@dataclass
class _Log:
    """The steps that ran, in order, those of bodies before the step around them, and the way to the present body."""

    steps: list[_Seen] = field(default_factory=list)
    way: list[str] = field(default_factory=list)


class _Watch(fx.Interpreter):
    """Runs generated code node by node and enters every result."""

    def __init__(self, module: Located, log: _Log) -> None:
        super().__init__(module)
        self.code, self.log = module, log

    def run_node(self, n: fx.Node) -> Any:
        """Run one node."""
        if n.op in ("placeholder", "output"):
            return super().run_node(n)
        graph = self.code.meta.get("graph")
        path = step_at(n, graph)
        self.log.way.append(path)
        try:
            made = super().run_node(n)
        finally:
            self.log.way.pop()
        weights = dict(self.submodules[str(n.target)].named_parameters()) if n.op == "call_module" else {}
        given = [t for source in n.all_input_nodes for t in _tensors(self.env.get(source))]
        whole = ".".join([*self.log.way, path])
        self.log.steps.append(_Seen(whole, step_in(graph, path), given, list(_tensors(made)), weights))
        return made

    def named(self, *args: Any, **kwargs: Any) -> Any:
        """Run with inputs by position and by name, as `forward` does."""
        given = list(args)
        for node in [n for n in self.code.graph.nodes if n.op == "placeholder"][len(args) :]:
            given.append(kwargs[str(node.target)] if str(node.target) in kwargs else node.args[0])
        return self.run(*given, enable_io_processing=False)


def _called(run: Callable[[], Any]) -> list[Located]:
    """The generated modules that a call runs, the outermost first."""
    found: dict[int, Located] = {}

    def note(module: nn.Module, args: Any) -> None:
        if isinstance(module, Located):
            found.setdefault(id(module), module)

    hook = register_module_forward_pre_hook(note)
    try:
        run()
    finally:
        hook.remove()
    return list(found.values())


@contextmanager
def _watched(modules: list[Located], log: _Log) -> Iterator[None]:
    for module in modules:
        module.__dict__["forward"] = _Watch(module, log).named
    try:
        yield
    finally:
        for module in modules:
            del module.__dict__["forward"]


def _inputs(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    names = module.meta["graph"].input_names if isinstance(module, Located) else map(str, range(len(given)))
    return {**dict(zip(names, given, strict=False)), **named}


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex():
            yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tensors(inner)


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())


def _masked(value: Tensor) -> bool:
    """Whether all that is not finite is minus infinity."""
    return not value.is_complex() and bool((torch.isfinite(value) | torch.isneginf(value)).all())


def _value(log: _Log) -> Problem | None:
    for accepted in (_masked, _finite):
        seen = next((s for s in log.steps if not all(map(accepted, s.made))), None)
        if seen is None:
            continue
        kind = next(_kind(t) for t in seen.made if not accepted(t))
        what = f"{seen.name} is the first step whose value is not finite ({kind})"
        if bad := [name for name, p in seen.weights.items() if not _finite(p)]:
            what += f": its weight '{seen.path}.{bad[0]}' is not"
        elif not all(map(accepted, seen.given)):
            return None  # they come from outside
        elif not all(map(_finite, seen.given)):
            what += _masking(log)
        elif seen.given:
            what += f": it is given values up to {max(float(_largest(t)) for t in seen.given):.3g}"
        return Problem(what, seen.span, seen.path)
    return None


def _masking(log: _Log) -> str:
    """Which step made the minus infinity that a later one took for a number."""
    maker = next((s for s in log.steps if not all(map(_finite, s.made))), None)
    if maker is None:
        return ": it is given minus infinity"
    line = f", {maker.span.file}:{maker.span.line}" if maker.span else ""
    return f": it is given minus infinity, which {maker.name}{line} makes first"


def _gradient(log: _Log, loss: Tensor) -> Problem | None:
    """The last step, the first on the way back, that is handed a finite gradient and makes one that is not."""
    grads: dict[int, Tensor] = {}
    leaves = {id(p): p for s in log.steps for p in s.weights.values() if p.requires_grad}
    values = {id(t): t for s in log.steps for t in (*s.given, *s.made) if t.requires_grad}
    kept = list({**leaves, **values}.values())
    hooks = [_hook(t, partial(_keep, grads, id(t))) for t in kept]
    torch.autograd.grad(loss, kept, allow_unused=True)
    for hook in hooks:
        hook.remove()
    for seen in reversed(log.steps):
        handed = [grads[id(t)] for t in seen.made if id(t) in grads]
        made = {"its inputs": [grads[id(t)] for t in seen.given if id(t) in grads]}
        made |= {f"'{seen.path}.{n}'": [grads[id(p)]] for n, p in seen.weights.items() if id(p) in grads}
        whose = next((name for name, some in made.items() if not all(map(_finite, some))), "")
        if whose and handed and all(map(_finite, handed)):
            what = f"the gradient of {whose} is not finite at {seen.name}, where that of its value is"
            return Problem(what, seen.span, seen.path)
    return None


def _hook(value: Tensor, call: Callable[[Tensor], None]) -> RemovableHandle:
    made: RemovableHandle = value.register_hook(call)  # type: ignore[no-untyped-call]
    return made


def _keep(grads: dict[int, Tensor], key: int, grad: Tensor) -> None:
    grads[key] = grad


def _kind(value: Tensor) -> str:
    return "NaN" if bool(torch.isnan(value).any()) else "infinite"


def _largest(value: Tensor) -> Tensor:
    return value.detach().abs().max() if value.numel() else torch.zeros(())
