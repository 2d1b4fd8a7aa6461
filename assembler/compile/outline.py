"""A graph lowered with each slot as one sub-module, so that assemblies are tried by exchanging sub-modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from assembler.compile.code import Code, flat
from assembler.compile.located import mark
from assembler.compile.lower import call, check_names, steps_of
from assembler.compile.steps import Steps, seeding
from assembler.errors import GraphError, near
from assembler.graph.core import Graph, TensorType
from assembler.graph.edit import ROOT, Slot, cut, inner_id
from assembler.graph.reach import upstream
from assembler.graph.runs import ends
from assembler.infer.shape import shapes


def outline(
    graph: Graph,
    slots: Sequence[str],
    types: Mapping[str, TensorType] | None = None,
    *,
    seed: int | None = 0,
    device: str | torch.device = "cpu",
    reads: Mapping[str, Sequence[str]] | None = None,
) -> fx.GraphModule:
    """The function and the `state_dict` keys of `lower`, with every slot's region as one sub-module at the slot's path.

    The sub-module takes what the slot carries on, then its side inputs in their order, or those that `reads` says (slot
    -> ids). `module.meta["slots"]` holds the slots' paths. Raises GraphError where a slot is not one (more than one
    tensor leaves), where two overlap, or where a step cannot be named.
    """
    types = types or shapes(graph)
    check_names(graph)
    sides = reads or {}
    cuts = [replace(slot, sides=tuple(sides.get(slot.path, slot.sides))) for slot in (cut(graph, p) for p in slots)]
    owner = _owners(cuts)
    code = Code(graph.input_names)
    steps = steps_of(graph, types, seed, device)

    def add(i: str) -> None:
        slot = owner.get(i)
        if i in code.values or (slot is not None and i != slot.output):
            return
        for source in slot.sides if slot else ():
            late = upstream(graph, source) - code.values.keys()  # what another part reads may stand behind the slot
            for above in (i for i in graph.nodes if i in late):
                add(above)
        if slot is None:
            call(code, i, graph.nodes[i], steps)
        else:
            values = tuple(code.values[s] for s in (slot.source, *slot.sides))
            code.values[i] = code.call(_place(slot.path), _region(graph, slot, steps), values, {})
            mark(code.fx, slot.path)

    with seeding(seed):
        for i in graph.nodes:
            add(i)
    module = code.finish(graph.outputs)
    module.meta |= {"graph": graph, "slots": tuple(slots), "single": tuple(s.path for s in cuts if _single(s))}
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
    """What `outline` puts in one slot, made without the rest: tensors in, one out, parameters named from the slot on.

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


def _single(slot: Slot) -> bool:
    """Whether a slot is one step with several inputs, which has an order of its own for them."""
    return slot.ids == (slot.path,) and bool(slot.sides)


def _region(graph: Graph, slot: Slot, steps: Steps) -> nn.Module:
    path, values = slot.path, (slot.source, *slot.sides)
    code = Code([f"x{n}" for n in range(len(values))] if slot.sides else ["x"])
    code.values |= dict(zip(values, list(code.values.values()), strict=True))
    for i in slot.ids:
        node = graph.nodes[i]
        step = steps(i)
        if i == path and isinstance(step, nn.Module):
            if len(slot.ids) == 1 and not _single(slot):
                return step
            if len(slot.ids) == 1:
                call(code, i, node, steps, ROOT)
                continue
            what = f"slot '{i}' ends in {node.op}, which has weights of its own beside those of its arms"
            raise GraphError(what, path=i, hint="wrap the container in a body: and cut that")
        call(code, i, node, steps, path.rsplit(".", 1)[-1] if i == path else inner_id(path, i))
    return code.finish((("y", slot.output),))


def _place(slot: str) -> str:
    """Where the sub-module of a slot is registered: a run has no path of its own."""
    return flat(slot) if ends(slot) else slot


def _keep_keys(module: fx.GraphModule) -> None:
    """Let the steps of a run, and a single step, have the keys in a `state_dict` that they have in `lower`'s."""
    if module.meta["single"] or any(map(ends, module.meta["slots"])):
        module._state_dict_hooks = OrderedDict()
        module._load_state_dict_pre_hooks = OrderedDict()  # each is bound to one module
        module._register_state_dict_hook(_without_runs)  # type: ignore[no-untyped-call]
        module.register_load_state_dict_pre_hook(_with_runs)  # type: ignore[no-untyped-call]


def _without_runs(module: fx.GraphModule, state: dict[str, Any], prefix: str, metadata: Mapping[str, Any]) -> None:
    """A `state_dict` hook: the keys of a run's steps begin with their own paths."""
    for place, path in _runs(module, prefix).items():
        for key in [k for k in state if k.startswith(place)]:
            state[path + key.removeprefix(place)] = state.pop(key)


def _with_runs(module: fx.GraphModule, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """The inverse, before a `state_dict` is loaded."""
    for place, path in _runs(module, prefix).items():
        if (held := _held(module, place.removeprefix(prefix)[:-1])) is not None:
            for key in held.state_dict():
                if path + key in state:
                    state[place + key] = state.pop(path + key)


def _runs(module: fx.GraphModule, prefix: str) -> dict[str, str]:
    """How the keys begin that are not where they lie, with how they are to begin."""
    runs = {f"{prefix}{_place(slot)}.": prefix for slot in module.meta["slots"] if ends(slot)}
    return runs | {f"{prefix}{slot}.{ROOT}.": f"{prefix}{slot}." for slot in module.meta["single"]}


def _held(module: nn.Module, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:  # another part is in the slot
        return None


def _shallow(module: nn.Module) -> Any:
    new = object.__new__(type(module))
    new.__dict__ = module.__dict__ | {"_modules": dict(module._modules)}
    return new
