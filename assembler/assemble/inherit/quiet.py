"""New steps that begin as if they were not there: residual branches that add nothing, layers that are the identity."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor, nn

from assembler.graph.core import Graph
from assembler.graph.reach import upstream

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)
_KEEPS_ZERO = (
    *(
        "identity",
        "dropout",
        "dropout1d",
        "dropout2d",
        "drop_path",
        "relu",
        "relu6",
        "gelu",
        "silu",
        "tanh",
        "hardswish",
    ),
    *("layer_scale", "avg_pool2d", "map_to_tokens", "tokens_to_map"),
)
_PLACES = (
    *("permute", "reshape", "transpose", "squeeze", "unsqueeze", "flatten", "roll", "flip", "rearrange", "select"),
    *("aten.permute", "aten.reshape", "aten.transpose.int", "aten.squeeze.dim", "aten.unsqueeze", "aten.roll"),
    *("aten.flatten.using_ints", "aten.slice.Tensor", "aten.select.int", "aten.flip"),
)
"""What only lays values elsewhere."""
_FACTORS = {"mul": (0, 1), "aten.mul.Tensor": (0, 1), "aten.mm": (1, 0), "matmul": (1, 0), "aten.addmm": (2, 1)}
"""Products, and which of their sources are the factors: of a matrix product its weight first."""
_IDEMPOTENT = ("relu", "relu6", "identity")


def quiet(parent: Graph, child: Graph, pairs: Mapping[str, str], module: nn.Module) -> dict[str, Tensor]:
    """Tensors of new steps, by key, with which the child computes what the parent did, as far as that can be told.

    The last layer of a residual branch of which no step was there before is zero (as in Goyal et al., 2017,
    arXiv:1706.02677); a layer put between two steps of the parent, with as many channels out as in, is the identity
    (Net2DeeperNet, Chen et al., 2016), exactly so where no activation but relu follows it.
    """
    made: dict[str, Tensor] = {}
    weighted = {i for i in child.nodes if own_weights(module, i)}
    for i in _branches(child, pairs, weighted):
        made |= {key: torch.zeros(p.shape, dtype=p.dtype) for key, p in last_layer(module, i).items()}
    users = child.users()
    layers = {i for i in weighted if not _bare(module, i)}
    for i in layers - set(pairs) - {key.rpartition(".")[0] for key in made}:
        if _inserted(parent, child, pairs, users, i) and i not in parent.nodes:
            made |= _identity(module, i)
    return made


def own_weights(module: nn.Module, i: str) -> bool:
    """Whether a step has parameters of its own."""
    try:
        return bool(_bare(module, i)) or any(True for _ in module.get_submodule(i).parameters())
    except AttributeError:
        return False


def _bare(module: nn.Module, i: str) -> dict[str, nn.Parameter]:
    """The parameter, by key, that is a step: a bare tensor of an imported module."""
    path, _, name = i.rpartition(".")
    try:
        held = getattr(module.get_submodule(path), name, None)
    except AttributeError:
        return {}
    return {i: held} if isinstance(held, nn.Parameter) else {}


# -- residual branches -------------------------------------------------------------------------------------------------


def branches(child: Graph, weighted: Collection[str]) -> Iterator[tuple[str, tuple[str, ...], set[str]]]:
    """(sum, the steps before it whose weights decide what the branch adds, the branch's steps) of residual branches.

    What the branch adds is linear in the weights of these steps together.
    """
    for i, node in child:
        if node.op != "add" or len(node.sources) != 2:
            continue
        for passed, branch in (node.sources, node.sources[::-1]):
            skip = _passed_on(child, passed)
            inside = upstream(child, branch) - upstream(child, skip)
            lasts = _lasts(child, branch, inside, weighted)
            if skip in upstream(child, branch) and lasts:
                yield i, lasts, inside
                break


def _passed_on(graph: Graph, i: str) -> str:
    """The value that identities hand on."""
    while i in graph.nodes and graph.nodes[i].op == "identity":
        i = graph.nodes[i].sources[0]
    return i


def _branches(child: Graph, pairs: Mapping[str, str], weighted: Collection[str]) -> Iterator[str]:
    """The steps before each new sum whose weights decide what a branch adds."""
    for i, lasts, inside in branches(child, weighted):
        mine = inside & set(weighted)
        if i not in pairs and mine and not mine & set(pairs):
            yield from lasts


def _lasts(graph: Graph, i: str, inside: Collection[str], weighted: Collection[str]) -> tuple[str, ...]:
    """The last steps with weights on the way to a value, one factor of each product; none where it is not so made."""
    while i in inside and i not in weighted:
        node = graph.nodes[i]
        if node.op in _FACTORS:
            return _of_product(graph, i, inside, weighted)
        if len(node.sources) != 1 or node.op not in (*_KEEPS_ZERO, *_PLACES):
            return ()
        i = node.sources[0]
    return (i,) if i in inside else ()


def _of_product(graph: Graph, i: str, inside: Collection[str], weighted: Collection[str]) -> tuple[str, ...]:
    """The last steps of one factor on which the other does not depend, and of what is added to the product."""
    node = graph.nodes[i]
    one, other = (node.sources[n] for n in _FACTORS[node.op])
    ways = [(_lasts(graph, a, inside, weighted), upstream(graph, b)) for a, b in ((one, other), (other, one))]
    factors = next((found for found, beside in ways if found and beside.isdisjoint(found)), ())
    added = [_lasts(graph, s, inside, weighted) for s in node.sources if s not in (one, other)]
    return (*factors, *(last for found in added for last in found)) if factors and all(added) else ()


def last_layer(module: nn.Module, i: str) -> dict[str, nn.Parameter]:
    """The parameters, by key, of the last linear layer, convolution or norm of a step, or of one that is a tensor.

    There are none where it has no such.
    """
    if bare := _bare(module, i):
        return bare
    step = module.get_submodule(i)
    layers = [(f"{i}.{n}" if n else i, m) for n, m in step.named_modules() if isinstance(m, _LAYERS + _NORMS)]
    path, last = layers[-1] if layers else (i, nn.Identity())
    return {f"{path}.{name}": p for name, p in last.named_parameters(recurse=False)}


def own_parameters(module: nn.Module, i: str) -> dict[str, nn.Parameter]:
    """The parameters, by key, that a step holds itself."""
    return {f"{i}.{name}": p for name, p in module.get_submodule(i).named_parameters(recurse=False)}


# -- layers in between -------------------------------------------------------------------------------------------------


def _inserted(
    parent: Graph,
    child: Graph,
    pairs: Mapping[str, str],
    users: Mapping[str, tuple[tuple[str, str], ...]],
    i: str,
) -> bool:
    """Whether the parent goes on without a new step, and what is new around it, from the same value."""
    before = i
    while before in child.nodes and before not in pairs:
        if len(child.nodes[before].sources) != 1:
            return False
        before = child.nodes[before].sources[0]
    after = i
    while after not in pairs:
        if len(users[after]) != 1:
            return False
        after = users[after][0][0]
        if after not in pairs and child.nodes[after].op not in _IDEMPOTENT:
            return False
    known = {**{n: n for n in child.input_names}, **pairs}
    return known.get(before) in parent.nodes[pairs[after]].sources


def _identity(module: nn.Module, i: str) -> dict[str, Tensor]:
    step = module.get_submodule(i)
    if not isinstance(step, _LAYERS) or step.weight.shape[0] != step.weight.shape[1]:
        return {}
    kernel = step.weight.shape[2:]
    if isinstance(step, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        same = step.padding == "same" or step.padding == tuple(k // 2 for k in kernel)
        if step.groups > 1 or any(k % 2 == 0 for k in kernel) or set(step.stride) != {1} or not same:
            return {}
    weight = torch.zeros(step.weight.shape, dtype=step.weight.dtype)
    middle = tuple(k // 2 for k in kernel)
    for channel in range(len(weight)):
        weight[(channel, channel, *middle)] = 1
    bias = {f"{i}.bias": torch.zeros(step.bias.shape, dtype=step.bias.dtype)} if step.bias is not None else {}
    return {f"{i}.weight": weight, **bias}
