"""Depth by copies: a deep model begins as copies of a shallow one's blocks, each with its share of what they add."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from assembler.assemble.inherit.account import Account, Fate
from assembler.assemble.inherit.inherited import inherited, tie
from assembler.assemble.inherit.quiet import branches, last_layer, own_parameters, own_weights
from assembler.assemble.weights import Weights
from assembler.compile.lower import lower
from assembler.graph.core import Graph


def stacked(parent: Graph, weights: Mapping[str, Tensor], child: Graph, *, seed: int = 0) -> tuple[Weights, Account]:
    """The `state_dict` of a `child` with more copies of its repeated blocks than `parent`, and the account of it.

    Copy j of L has the weights of the parent's copy floor(j m / L) of m (stacking, Gong et al. 2019, "Efficient
    training of BERT by progressively stacking"). What ends a residual branch is divided by the number of copies, so
    that to first order they add together what the one did. Where the parent has all of them each is itself, also where
    some of the parent's were taken out. All else begins as in `inherited`.
    """
    sources = {i: one.source for i, one in copies_of(parent, child).items()}
    made, account = inherited(parent, weights, child, seed=seed, known=sources)
    fates: dict[str, Fate] = dict(account.fates)
    for key, share in shares(child, lower(child, device="meta"), sources).items():
        made[key] = made[key] / share
        fates[key] = "scaled" if fates[key] == "copied" else fates[key]
    tie(child, made)
    return made, replace(account, fates=fates)


def shares(child: Graph, module: nn.Module, sources: Mapping[str, str]) -> dict[str, int]:
    """By key of what ends residual branches, how many copies of the branch there are, where there are several."""
    copies = Counter(sources.values())
    weighted = {i for i in child.nodes if own_weights(module, i)}
    found: dict[str, int] = {}
    for _, lasts, _ in branches(child, weighted):
        for last in lasts:
            count = copies.get(sources.get(last, ""), 1)
            ends = last_layer(module, last) or own_parameters(module, last)
            found |= dict.fromkeys(ends, count) if count > 1 else {}
    return found


@dataclass(frozen=True)
class Copy:
    """A step as a copy of a parent's: of `source`, one of `several` steps that bear the same `pattern` there."""

    source: str
    several: tuple[str, ...]
    pattern: str


def copies_of(parent: Graph, child: Graph) -> dict[str, Copy]:
    """For steps of repeated containers what they are copies of, by id."""
    there, here = _numbered(parent.nodes), _numbered(child.nodes)
    found = {}
    for pattern, ids in here.items():
        if pattern not in there:
            continue
        several = tuple(i for _, i in sorted(there[pattern].items()))
        axes = [
            (sorted({n[a] for n in ids}), sorted({n[a] for n in there[pattern]})) for a in range(pattern.count("*"))
        ]
        for numbers, i in ids.items():
            picked = tuple(
                n if set(wants) <= set(have) else have[wants.index(n) * len(have) // len(wants)]
                for n, (wants, have) in zip(numbers, axes, strict=True)
            )
            source = there[pattern].get(picked, "")
            if source and parent.nodes[source].op == child.nodes[i].op:
                found[i] = Copy(source, several, pattern)
    return found


def _numbered(ids: Iterable[str]) -> dict[str, dict[tuple[int, ...], str]]:
    """Ids by their pattern (`stage.*.block.*.mix`) and by the numbers that stand for its stars."""
    found: dict[str, dict[tuple[int, ...], str]] = {}
    for i in ids:
        numbers = tuple(int(part) for part in i.split(".") if part.isdecimal())
        found.setdefault(re.sub(r"(?<![^.])\d+(?![^.])", "*", i), {})[numbers] = i
    return found
