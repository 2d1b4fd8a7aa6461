"""Growth that is learned: every tensor of a larger model is a linear map of a smaller one's, and the map is trained.

LiGO (Wang et al. 2023, "Learning to grow pretrained models for efficient transformer training", arXiv:2303.00980).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from assembler.assemble.inherit.account import Fate
from assembler.assemble.inherit.channels import origins
from assembler.assemble.inherit.matching import matched, owner_of, sizes
from assembler.assemble.inherit.resize import Flow, layout, resized
from assembler.assemble.inherit.stacked import Copy, copies_of, shares, stacked
from assembler.assemble.weights import Weights
from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.infer.shape import shapes


@dataclass(frozen=True)
class _Map:
    """How a tensor is made: of the parent's tensors `of`, by a mix and by maps of the axes, which others may share."""

    of: tuple[str, ...]
    mix: str
    out: str
    into: str
    axis: int | None


class Grown(nn.Module):
    """A larger model as a function of a smaller one's weights, W = sum_j m_j P W_j S for every tensor.

    The mix m over the parent's copies of a repeated block is a tensor's own; P and S, the maps of what a layer makes
    and reads, are shared by all copies of it. They begin as copies of blocks and of channels (`stacked`). Tensors that
    no such map makes are trained themselves.
    """

    def __init__(self, parent: Graph, weights: Mapping[str, Tensor], child: Graph, seed: int = 0) -> None:
        super().__init__()
        self.begun, self.account = stacked(parent, weights, child, seed=seed)
        self.child = lower(child, seed=seed)
        self.learnt = nn.ParameterDict()
        self._maps: dict[str, _Map] = {}
        floats = {name: tensor.detach() for name, tensor in weights.items() if tensor.is_floating_point()}
        self.old = nn.ParameterDict({_name(k): nn.Parameter(t, requires_grad=False) for k, t in floats.items()})
        self._plan(parent, weights, child, seed)
        for parameter in self.child.parameters():
            parameter.requires_grad_(False)
        fates: dict[str, Fate] = {**self.account.fates, **dict.fromkeys(self._maps, "learned")}
        self.account = replace(self.account, fates=fates)

    def forward(self, **inputs: Any) -> Any:
        """What the larger model makes of its inputs."""
        return functional_call(self.child, self.made(), (), inputs)

    def made(self) -> Weights:
        """The larger model's parameters and buffers, by key."""
        found = {name: tensor for name, tensor in self.child.state_dict(keep_vars=True).items()}
        found |= {key: self._tensor(one) for key, one in self._maps.items()}
        return found | {k: self.learnt[_name(k)] for k in self.begun if _name(k) in self.learnt}

    @property
    def flops(self) -> int:
        """FLOPs of making the weights once."""
        spent = 0
        for key, one in self._maps.items():
            old, new = self.old[_name(one.of[0])], self.begun[key]
            spent += 2 * len(one.of) * old.numel() * bool(one.mix)
            spent += 2 * new.shape[0] * old.numel() * bool(one.out)
            spent += 2 * new.numel() * (old.shape[one.axis] if one.axis is not None else 1) * bool(one.into)
        return spent

    def _held(self, key: str) -> Tensor | None:
        found: Tensor | None = self.old.get(_name(key), None)
        return found

    def _tensor(self, one: _Map) -> Tensor:
        parts = torch.stack([self.old[_name(key)] for key in one.of])
        made = torch.tensordot(self.learnt[one.mix], parts, 1) if one.mix else parts[0]
        if one.out:
            made = torch.tensordot(self.learnt[one.out], made, 1)
        if one.into and one.axis is not None:
            made = torch.tensordot(made, self.learnt[one.into], ([one.axis], [0])).movedim(-1, one.axis)
        return made

    def _plan(self, parent: Graph, weights: Mapping[str, Tensor], child: Graph, seed: int) -> None:
        state = self.child.state_dict()
        pairs = matched(parent, child, sizes(parent, weights), sizes(child, state))
        flows = origins(parent, child, pairs, shapes(parent), shapes(child))
        copies = copies_of(parent, child)
        parts = shares(child, self.child, {i: one.source for i, one in copies.items()})
        for key, _ in self.child.named_parameters():
            i = owner_of(key, child)
            flow = next((flows.get(s) for s in child.nodes[i].sources), None), flows.get(i)
            if i in copies:
                self._add(key, key[len(i) :], copies[i], (flow, parts.get(key, 1)), seed)
        self.child.load_state_dict({k: t for k, t in self.begun.items() if k not in self._maps}, strict=False)
        for key, _ in self.child.named_parameters():
            if key not in self._maps:
                self.learnt[_name(key)] = nn.Parameter(self.begun[key].clone())

    def _add(self, key: str, rest: str, copy: Copy, how: tuple[Flow, int], seed: int) -> None:
        """Plan how a tensor is made, unless more than its channels differs from the parent's.

        `how` is the flow of its step's channels, and of how many copies that add up it is one.
        """
        (flow, part), (old, new) = how, (self._held(copy.source + rest), self.begun[key])
        layer = self.child.get_submodule(key.rpartition(".")[0])
        axis = layout(layer, new)[0]
        if old is None or old.ndim != new.ndim or axis == 0 or not _alike(old, new, (0, axis)):
            return
        of = tuple(k for i in copy.several if (t := self._held(k := i + rest)) is not None and t.shape == old.shape)
        mix = _name(f"{key}.mix") if len(of) > 1 or part > 1 else ""
        if mix:
            begin = torch.zeros(len(of))
            begin[of.index(copy.source + rest)] = 1 / part
            self.learnt[mix] = nn.Parameter(begin)

        def by(end: str, at: int | None) -> str:
            if at is None or old.shape[at] == new.shape[at]:
                return ""
            name = _name(f"{copy.pattern}{rest}.{end}")
            if name not in self.learnt:
                size = (new.shape[0], old.shape[0]) if at == 0 else (old.shape[at], new.shape[at])
                flat = (1,) * max(0, new.ndim - 2)
                eye = torch.eye(old.shape[at]).reshape(old.shape[at], old.shape[at], *flat)
                made, _ = resized(eye, (*size, *flat), layer, key, flow, seed)
                self.learnt[name] = nn.Parameter(made.flatten(1))
            return name

        self._maps[key] = _Map(of, mix, by("out", 0), by("in", axis), axis)


def _alike(old: Tensor, new: Tensor, but: tuple[int | None, ...]) -> bool:
    """Whether two shapes differ at some axes at most."""
    return all(old.shape[a] == new.shape[a] for a in range(new.ndim) if a not in but)


def _name(key: str) -> str:
    """A key as a parameter's name."""
    return key.replace(".", "__")
