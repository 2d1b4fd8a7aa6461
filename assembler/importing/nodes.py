"""A trace as a graph: calls of leaves and operators become nodes under the paths of the modules that make them."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.utils import _pytree as pytree

from assembler.errors import GraphError
from assembler.graph.core import ITEM, Node, TensorType
from assembler.graph.reserved import RESERVED_STEPS
from assembler.importing.batch import axes_of, is_batch, settled_sizes
from assembler.importing.example import dotted, output_name
from assembler.importing.operators import LATER, UnknownOperatorError, converted
from assembler.importing.reasons import kept_by
from assembler.importing.tracing import LEAF, Call, Trace
from assembler.registry import lookup

MOST_WRITTEN = 4096
"""How many numbers of a tensor that is not part of the weights are written into the graph; more lie in the weights."""
_INLINED = ("wrap_with_set_grad_enabled", "wrap_with_autocast")


class DirectUseError(Exception):
    """A weight of a leaf is used beside the leaf; `path` is the leaf, which has to be traced into."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass
class Draft:
    """The graph so far. Inputs that only tell sizes and device read `LATER`; `open` says whose axis 0 is the batch, and
    `axes` which sizes a value has, as expressions; `only` has the outputs of one mode alone, with that mode."""

    inputs: list[tuple[str, TensorType]] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    outputs: list[tuple[str, str]] = field(default_factory=list)
    open: dict[str, bool] = field(default_factory=dict)
    literals: dict[str, Tensor] = field(default_factory=dict)
    steps: dict[fx.Node, str] = field(default_factory=dict)
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    only: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Converter:
    """Turns one trace into a draft."""

    module: nn.Module
    trace: Trace
    draft: Draft = field(default_factory=Draft)
    ids: dict[fx.Node, str] = field(default_factory=dict)
    several: dict[fx.Node, list[str]] = field(default_factory=dict)
    held: dict[fx.Node, tuple[str, Tensor, bool]] = field(default_factory=dict)
    first: dict[int, str] = field(default_factory=dict)
    tied: dict[int, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def run(self) -> Draft:
        """Convert everything. Raises GraphError for what a graph cannot hold, DirectUseError to ask for a new trace."""
        self.taken = {path for path, _ in self.module.named_modules() if path}
        self.placeholders()
        for node in self.trace.program.graph.nodes:
            if node.op == "call_function":
                self.step(node, self.trace.program.graph_module)
        self.results()
        return self.draft

    # -- what enters and leaves --------------------------------------------------------------------------------------

    def placeholders(self) -> None:
        program = self.trace.program
        nodes = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
        names = iter(dotted(path) for path, _ in pytree.tree_flatten_with_path(self.trace.inputs.kwargs)[0])
        state = {**dict(self.module.named_parameters(remove_duplicate=False)), **_buffers(self.module)}
        canonical: dict[int, str] = {}
        for name, tensor in state.items():
            canonical.setdefault(id(tensor), name)
        for spec in program.graph_signature.input_specs:
            node = nodes[spec.arg.name]
            if spec.kind is InputKind.USER_INPUT:
                self.input(node, next(names))
            elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
                tensor = state[spec.target]
                kept = spec.kind is InputKind.PARAMETER or bool(spec.persistent)
                self.held[node] = (canonical[id(tensor)], tensor, kept)
            else:
                self.held[node] = (spec.target, program.constants[spec.target], False)

    def input(self, node: fx.Node, name: str) -> None:
        value = node.meta.get("val")
        if not isinstance(value, Tensor):
            return
        shape = tuple(self.trace.inputs.named[name].shape)
        name = self.unique("", name) if name in self.taken else name
        self.taken.add(name)
        self.draft.inputs.append((name, TensorType(shape, str(value.dtype).removeprefix("torch."))))
        self.ids[node] = name
        self.draft.open[name], self.draft.axes[name] = _is_open(value), axes_of(value)

    def results(self) -> None:
        program = self.trace.program
        specs = [s for s in program.graph_signature.output_specs if s.kind is OutputKind.USER_OUTPUT]
        writes = [s for s in program.graph_signature.output_specs if s.kind is not OutputKind.USER_OUTPUT]
        if writes:
            raise GraphError(f"the model changes its own '{writes[0].target}' when it runs, a graph cannot")
        nodes = {n.name: n for n in program.graph.nodes}
        tree = pytree.tree_unflatten(list(range(len(specs))), program.call_spec.out_spec)
        for path, at in pytree.tree_flatten_with_path(tree)[0]:
            if isinstance(specs[at].arg, ConstantArgument):
                continue
            self.draft.outputs.append((output_name(path), self.id_of(nodes[specs[at].arg.name])))

    # -- steps -------------------------------------------------------------------------------------------------------

    def step(self, node: fx.Node, holder: nn.Module) -> None:
        if node.target is LEAF:
            self.leaf(node)
        elif node.target is operator.getitem and node.args[0] in self.several:
            self.ids[node] = self.several[node.args[0]][node.args[1]]  # type: ignore[index]
        elif getattr(node.target, "__name__", "") in _INLINED or str(node.target) in _INLINED:
            self.inline(node, holder)
        elif _makes_tensors(node):
            try:
                self.operator(node)
            except UnknownOperatorError as error:
                raise self.refusal(node, str(error)) from None

    def leaf(self, node: fx.Node) -> None:
        tensors, key = node.args
        call: Call = self.trace.calls[str(key)]
        path = str(key).partition(":")[2].rpartition("#")[0]
        i = path if path not in self.draft.nodes else self.unique(*_parted(path))
        inputs = tuple(zip(call.ports, map(self.id_of, tensors), strict=True))  # type: ignore[arg-type]
        made = Node(call.op, call.args, inputs, share=self.shared(call.module, path, i), frozen=_frozen(call.module))
        self.put(i, made, node)
        names = lookup("op", call.op).outputs(dict(call.args))
        self.several[node] = self.items(i, names, node)

    def shared(self, module: nn.Module, path: str, i: str) -> tuple[tuple[str, str], ...]:
        """Whose weights a leaf uses: those of its first call, or single ones that another leaf has as well."""
        own = module.state_dict(keep_vars=True)
        if not own:
            return ()
        if i != path:
            return (("", path),)
        ties = []
        for name, tensor in own.items():
            if id(tensor) in self.tied:
                ties.append((name, self.tied[id(tensor)]))
            elif isinstance(tensor, nn.Parameter):
                self.tied[id(tensor)] = f"{path}.{name}"
        return tuple(ties)

    def items(self, i: str, names: Iterable[str] | None, node: fx.Node) -> list[str]:
        """The ids of all outputs of a step; those after the first that are read become steps of their own."""
        count = len(node.meta["val"])
        if names is None:
            return [i]
        names = list(names) or [str(n) for n in range(count)]
        read = {user.args[1] for user in node.users if user.target is operator.getitem and user.users}
        found = [i]
        for n in range(1, count):
            found.append(f"{i}.{names[n]}")
            if n in read:
                self.put(found[n], Node(ITEM, (("output", names[n]),), (("input", i),)), None)
        return found

    def operator(self, node: fx.Node) -> None:
        made = converted(node, self.id_of)
        if made.same is not None:
            self.ids[node] = self.id_of(made.same)
        elif made.node is not None:
            i = self.unique(self.path(node), made.name)
            self.put(i, made.node, node)
            value = node.meta["val"]
            if isinstance(value, list | tuple):
                self.several[node] = self.items(i, lookup("op", made.node.op).outputs(dict(made.node.args)), node)
            else:
                self.ids[node] = i

    def inline(self, node: fx.Node, holder: nn.Module) -> None:
        """A region in which only gradients or precision are switched, as if it stood outside of it."""
        at = next(n for n, a in enumerate(node.args) if isinstance(a, fx.Node) and a.op == "get_attr")
        inner = getattr(holder, str(node.args[at].target))  # type: ignore[union-attr]
        entering = iter(node.args[at + 1 :])
        for sub in inner.graph.nodes:
            if sub.op == "placeholder":
                outer = next(entering)
                if isinstance(outer, fx.Node):
                    self.alias(sub, outer)
            elif sub.op == "call_function":
                self.step(sub, inner)
            elif sub.op == "output":
                self.several[node] = [self.id_of(v) if isinstance(v, fx.Node) else "" for v in sub.args[0]]

    def alias(self, inner: fx.Node, outer: fx.Node) -> None:
        if outer in self.held:
            self.held[inner] = self.held[outer]
        elif outer in self.ids:
            self.ids[inner] = self.ids[outer]

    # -- names -------------------------------------------------------------------------------------------------------

    def id_of(self, node: fx.Node) -> str:
        if node not in self.ids:
            if node not in self.held:
                raise self.refusal(node, f"{node.target} makes no tensor that a graph can hold")
            self.ids[node] = self.tensor(*self.held[node])
        return self.ids[node]

    def tensor(self, name: str, tensor: Tensor, kept: bool) -> str:
        """A step for a tensor that the model holds: part of the weights under its own name, or written out."""
        if i := self.first.get(id(tensor)):
            return i
        owner = name.rpartition(".")[0]
        if id(tensor) in self.tied or owner in self.leaves():
            raise DirectUseError(self.tied.get(id(tensor), name).rpartition(".")[0])
        i = name if name not in self.taken else self.unique(*_parted(name))
        if not kept and tensor.numel() <= MOST_WRITTEN:
            made = literal(tensor)
        else:
            learned = isinstance(tensor, nn.Parameter)
            made = stored(tensor, learned, frozen=learned and not tensor.requires_grad)
            self.draft.literals |= {} if kept else {i: tensor}
        self.first[id(tensor)] = i
        self.put(i, made, None)
        return i

    def leaves(self) -> set[str]:
        return {key.partition(":")[2].rpartition("#")[0] for key in self.trace.calls}

    def path(self, node: fx.Node) -> str:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        return str(stack[-1][0]).partition("@")[0] if stack else ""

    def unique(self, path: str, name: str) -> str:
        """An id under `path` that nothing else has."""
        name = f"{name}_step" if name in RESERVED_STEPS else name
        stem = f"{path}.{name}" if path else name
        found, n = stem, 0
        while found in self.taken:
            n += 1
            found = f"{stem}_{n}"
        return found

    def put(self, i: str, made: Node, node: fx.Node | None) -> None:
        self.taken.add(i)
        self.draft.nodes[i] = made
        if node is not None:
            value = node.meta["val"]
            value = value[0] if isinstance(value, list | tuple) else value
            self.draft.open[i] = _is_open(value)
            self.draft.axes[i] = axes_of(value)
            self.draft.steps[node] = i

    def refusal(self, node: fx.Node, why: str) -> GraphError:
        path = self.path(node)
        kind = type(self.module.get_submodule(path)).__name__
        hint = kept_by(path) if path else "the module itself does it: move it into a part of its own, which can be kept"
        return GraphError(f"'{path}' ({kind}) cannot be a graph: {why}" if path else why, path=path, hint=hint)


def stored(tensor: Tensor, learned: bool, *, frozen: bool = False) -> Node:
    """The step for a tensor that lies in the weights."""
    args: dict[str, Any] = {"shape": tuple(tensor.shape)}
    args |= {} if learned else {"learned": False}
    args |= {} if tensor.dtype == torch.float32 else {"dtype": str(tensor.dtype).removeprefix("torch.")}
    return Node("stored", tuple(sorted(args.items())), (("x", LATER),), frozen=frozen)


def literal(tensor: Tensor) -> Node:
    """The step for a tensor that is written out; one number where all are equal, a ramp where they count up."""
    flat = tensor.detach().flatten()
    values: tuple[float, ...] = tuple(float(v) for v in flat.tolist())
    args: dict[str, Any] = {"shape": tuple(tensor.shape)} if tensor.dim() else {}
    gaps = set(map(operator.sub, values[1:], values)) if all(map(math.isfinite, values)) else set()
    if len(values) > 1 and gaps == {0.0}:
        values = values[:1]
    elif len(values) > 2 and len(gaps) == 1 and not flat.is_floating_point() and flat.dtype != torch.bool:
        values, args = values[:1], {**args, "step": gaps.pop()}
    args |= {} if tensor.dtype == torch.float32 else {"dtype": str(tensor.dtype).removeprefix("torch.")}
    shown = tuple(int(v) if v.is_integer() else v for v in values)
    return Node("literal", tuple(sorted({**args, "values": shown}.items())), (("x", LATER),))


def _buffers(module: nn.Module) -> Mapping[str, Tensor]:
    return dict(module.named_buffers(remove_duplicate=False))


def _is_open(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and is_batch(value.shape[0])


def _makes_tensors(node: fx.Node) -> bool:
    value = node.meta.get("val")
    several = isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value)
    return isinstance(value, Tensor) or several


def _frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def _parted(path: str) -> tuple[str, str]:
    owner, _, name = path.rpartition(".")
    return owner, name


def settled(node: Node, source: str, axes: tuple[str, ...] = ()) -> Node:
    """The node with every input that only tells sizes and device reading `source`, whose sizes are `axes`."""
    args = tuple((name, settled_sizes(value, axes)) for name, value in node.args) if axes else node.args
    return replace(node, args=args, inputs=tuple((port, s if s != LATER else source) for port, s in node.inputs))
