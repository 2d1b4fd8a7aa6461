"""A graph lowered with each slot as one sub-module, so that assemblies are tried by exchanging sub-modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from assembler.compile.code import Code, flat
from assembler.compile.located import mark
from assembler.compile.lower import check_names, steps_of
from assembler.compile.steps import Steps, seeding
from assembler.errors import GraphError, near
from assembler.graph.core import Graph, TensorType
from assembler.graph.edit import Slot, cut, inner_id
from assembler.graph.runs import ends
from assembler.infer.shape import shapes


def outline(
    graph: Graph,
    slots: Sequence[str],
    types: Mapping[str, TensorType] | None = None,
    *,
    seed: int | None = 0,
    device: str | torch.device = "cpu",
) -> fx.GraphModule:
    """The function and the `state_dict` keys of `lower`, with every slot's region as one sub-module at the slot's path.

    `module.meta["slots"]` holds the slots' paths. Raises GraphError where a slot is not one (more than one tensor
    enters or leaves), where two overlap, or where a step cannot be named.
    """
    types = types or shapes(graph)
    check_names(graph)
    cuts = [cut(graph, path) for path in slots]
    owner = _owners(cuts)
    code = Code(graph.input_names)
    steps = steps_of(graph, types, seed, device)
    with seeding(seed):
        for i, node in graph.nodes.items():
            slot = owner.get(i)
            if slot is None:
                code.step(i, node, steps(i))
            elif i == slot.output:
                inner = _region(graph, slot, steps)
                code.values[i] = code.call(_place(slot.path), inner, (code.values[slot.source],), {})
                mark(code.fx, slot.path)
    module = code.finish(graph.outputs)
    module.meta |= {"graph": graph, "slots": tuple(slots)}
    _keep_keys(module)
    return module


def part(
    graph: Graph,
    slot: str,
    types: Mapping[str, TensorType] | None = None,
    *,
    seed: int | None = 0,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """What `outline` puts in one slot, made without the rest: tensor in, tensor out, parameters named from the slot on.

    Its initial weights are those that the same steps have in `lower(graph)` with the same seed.
    """
    with seeding(seed):
        return _region(graph, cut(graph, slot), steps_of(graph, types or shapes(graph), seed, device))


def swap(module: fx.GraphModule, parts: Mapping[str, nn.Module]) -> fx.GraphModule:
    """An outlined module with other sub-modules in some slots. Everything else is shared with `module`, which stays.

    Nothing is traced or compiled again, and the new module bears no `meta["graph"]`. Raises GraphError for a path that
    is not one of its slots.
    """
    known = module.meta.get("slots", ())
    for path in parts:
        if path not in known:
            hint = near(path, known) or f"its slots are {', '.join(known) or 'none: use outline'}"
            raise GraphError(f"there is no slot '{path}' in this module", hint=hint)
    new: fx.GraphModule = _shallow(module)
    new.meta = {k: v for k, v in module.meta.items() if k != "graph"}
    for path, inner in parts.items():
        *parents, name = _place(path).split(".")
        here: nn.Module = new
        for parent in parents:
            child = here._modules[parent]
            assert child is not None
            here._modules[parent] = here = _shallow(child)
        here._modules[name] = inner
    _keep_keys(new)
    return new


def _owners(cuts: Sequence[Slot]) -> dict[str, Slot]:
    owner: dict[str, Slot] = {}
    for slot in cuts:
        for i in slot.ids:
            if i in owner:
                raise GraphError(f"the slots '{owner[i].path}' and '{slot.path}' overlap", path=slot.path)
            owner[i] = slot
    return owner


def _region(graph: Graph, slot: Slot, steps: Steps) -> nn.Module:
    code = Code(("x",))
    code.values[slot.source] = code.values["x"]
    path = slot.path
    for i in slot.ids:
        node = graph.nodes[i]
        step = steps(i)
        if i == path and isinstance(step, nn.Module):
            if len(slot.ids) == 1:
                return step
            what = f"slot '{i}' ends in {node.op}, which has weights of its own beside those of its arms"
            raise GraphError(what, path=i, hint="wrap the container in a body: and cut that")
        code.step(i, node, step, path.rsplit(".", 1)[-1] if i == path else inner_id(path, i))
    return code.finish((("y", slot.output),))


def _place(slot: str) -> str:
    """Where the sub-module of a slot is registered: a run has no path of its own."""
    return flat(slot) if ends(slot) else slot


def _keep_keys(module: fx.GraphModule) -> None:
    """Let a run's steps have the keys in a `state_dict` that they have in `lower`'s."""
    if any(map(ends, module.meta["slots"])):
        module._state_dict_hooks = OrderedDict()
        module._load_state_dict_pre_hooks = OrderedDict()  # each is bound to one module
        module._register_state_dict_hook(_without_runs)  # type: ignore[no-untyped-call]
        module.register_load_state_dict_pre_hook(_with_runs)  # type: ignore[no-untyped-call]


def _without_runs(module: fx.GraphModule, state: dict[str, Any], prefix: str, metadata: Mapping[str, Any]) -> None:
    """A `state_dict` hook: the keys of a run's steps begin with their own paths."""
    for place in _runs(module, prefix):
        for key in [k for k in state if k.startswith(place)]:
            state[prefix + key.removeprefix(place)] = state.pop(key)


def _with_runs(module: fx.GraphModule, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """The inverse, before a `state_dict` is loaded."""
    for place in _runs(module, prefix):
        for key in module.get_submodule(place.removeprefix(prefix)[:-1]).state_dict():
            if prefix + key in state:
                state[place + key] = state.pop(prefix + key)


def _runs(module: fx.GraphModule, prefix: str) -> list[str]:
    return [f"{prefix}{_place(slot)}." for slot in module.meta["slots"] if ends(slot)]


def _shallow(module: nn.Module) -> Any:
    new = object.__new__(type(module))
    new.__dict__ = module.__dict__ | {"_modules": dict(module._modules)}
    return new
