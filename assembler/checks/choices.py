"""What holds of a recipe's choices: how many there are, that they are PyGlove's, and that they change nothing else."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from assembler.checks.subject import Subject
from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.recipe.choices import Pick, decide
from assembler.recipe.document import Document
from assembler.recipe.scope import vars_of
from assembler.registry import check
from assembler.symbolic.recipe import Coder, symbolic, tree
from assembler.wiring.build import build


@check(choices=True)
def choices(model: Subject, *, by: Literal["product", "list", "pyglove"] = "product") -> int:
    """How many choices the recipe has: counted, listed one after the other, or as PyGlove's `dna_spec` says.

    Constraints (`where:`) leave out what is listed alone.
    """
    space = model.openings.space
    if by == "pyglove":
        return Coder(symbolic(model.openings.document)).size
    return sum(1 for _ in space.every()) if by == "list" else space.size if space.size is not None else -1


@check(choices=True)
def lost_choices(model: Subject, *, most: int = 1000, made: int = 30) -> int:
    """How many choices, of the first `most`, are another one after they were made PyGlove's DNA and back.

    Of `made` of them PyGlove's candidate is made too: that must be our graph, and encode to the same choice.
    """
    recipe = symbolic(model.openings.document)
    coder, every = Coder(recipe), [*itertools.islice(model.openings.space.every(), most)]
    lost = [choice for choice in every if coder.choice(coder.dna(choice)) != choice]
    for choice in every[:: max(1, len(every) // made)]:
        candidate = coder.candidate(coder.dna(choice))
        ours, theirs = (build(tree(one), name="candidate") for one in (recipe.decided(choice), candidate))
        lost += [choice] * (ours != theirs or coder.choice_of(candidate) != choice)
    return len(lost)


@check(choices=True)
def unlike_replays(model: Subject, *, most: int = 10) -> int:
    """How many choices, of `most` drawn with the claim's seed, give another network when they are read back.

    They are written as the numbers of PyGlove's DNA, in JSON. Networks are alike that have the same initial weights and
    outputs, bit for bit.
    """
    document, source, unlike = model.openings.document, model.random(), 0
    coder = Coder(symbolic(document))
    for choice in (model.openings.space.unmoved.sample(source) for _ in range(most)):
        again = coder.read(json.loads(json.dumps(coder.dna(choice).to_numbers())))
        one, other = (_tensors(model, _network(document, made)) for made in (choice, again))
        unlike += one.keys() != other.keys() or any(not torch.equal(tensor, other[n]) for n, tensor in one.items())
    return unlike


@check(choices=True)
def open_builds(model: Subject, *, most: int = 10) -> int:
    """How many networks are made although a decision is open: of `most` choices, each without one of its picks."""
    document, source, made = model.openings.document, model.random(), 0
    for choice in (model.openings.space.unmoved.sample(source) for _ in range(most)):
        for missing in choice:
            with suppress(RecipeError):
                _network(document, {name: pick for name, pick in choice.items() if name != missing})
                made += 1
    return made


def _network(document: Document, choice: Mapping[str, Pick]) -> Graph:
    """The network of a choice, all vars of which have a value. Raises RecipeError where a decision is open."""
    decided = decide(document.model, choice)
    dict(vars_of(decided))
    return build(decided, name="candidate")


def _tensors(model: Subject, network: Graph) -> dict[str, Tensor]:
    """The initial weights of a network, and its first output."""
    found = replace(model, graph=network, weights=None, _made={})
    return {**found.module()[0].state_dict(), "": found.value(found.first(""))}


@check(choices=True)
def strays(model: Subject, *, most: int = 50) -> int:
    """How many values of candidates differ (`pg.diff`) from the recipe's first candidate where no decision differs.

    It looks at `most` choices that are drawn with the claim's seed.
    """
    space, recipe = model.openings.space, symbolic(model.openings.document)
    source = model.random()
    return sum(len(recipe.strays(space.first, space.sample(source))) for _ in range(most))
