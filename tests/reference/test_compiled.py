"""What is compiled computes what the graph says: against an interpreter that is slow and obvious, on drawn recipes."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
import torch
from built import Pair, gradients, graph_of, run
from drawn import recipes
from hypothesis import HealthCheck, given, settings
from torch import Tensor

WORDS = tuple(
    re.split(
        r"\s{2,}",
        r"""residual  shortcut:  branches  merge:  body:  repeat:  for:  share: true  share: s\d  vars:  outputs:  many:
        k0:  weight: s\d  frozen: true  blocks:  inputs:\s*(- |\[)p  s\d+\.o[12]  op: loop  index: i  scan:  collect:
        carry:  op: experts  switch  when: train  lstm  gru  chunk  split  topk  s\d+\.indices  s\d+\.1  x0\.1  int64
        s\d+\.weights  embedding  s\d+\.(cell|hidden)  =1\s\+\st  =1\s\+\sj  =f\s+\+\s+i  =v\d  batch_norm2d
        attention  cross_entropy  concat  until:  weight: s\d+(\.s\d+)*\.weight\.T  share: s\d+\.s\d+""",
    )
)
"""What every set of drawn recipes has to have in it."""
DRAWN = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck), "database": None}


def check(text: str) -> None:
    """Outputs, gradients, keys and running statistics are the reference's in both modes."""
    pair = Pair.of(graph_of(text))
    torch.manual_seed(1)
    given_ = pair.inputs()
    for training in (True, False):
        same_values(pair, given_, training)
    held = pair.compiled.state_dict()
    needed = pair.reference.tensors()
    assert {k: v.shape for k, v in held.items()} == {k: v.shape for k, v in needed.items()}
    for key, value in needed.items():
        close(held[key], value, key)
    trained = {name: p.requires_grad for name, p in pair.compiled.named_parameters(remove_duplicate=False)}
    assert trained == {name: p.requires_grad for name, p in pair.reference.parameters().items()}


def same_values(pair: Pair, drawn: dict[str, Tensor], training: bool) -> None:
    pair.compiled.train(training)
    ours, theirs = ({k: v.clone().requires_grad_(v.is_floating_point()) for k, v in drawn.items()} for _ in "ab")
    mode = "eval" if training else "train"
    gone = [name for name, when in pair.graph.only if when == mode and name in ours]
    made = run(pair.compiled, {k: v for k, v in ours.items() if k not in gone or "." in k})
    wanted = pair.reference(theirs, training=training)
    if "" in made:
        made = {next(iter(wanted)): made[""]}
    assert list(made) == list(wanted)
    scale = greatest(wanted.values())
    for name, value in wanted.items():
        close(made[name], value, name, scale)
    parameters = dict(pair.compiled.named_parameters(remove_duplicate=False))
    found = gradients(made, {**{f"x.{k}": v for k, v in ours.items()}, **parameters})
    right = gradients(wanted, {**{f"x.{k}": v for k, v in theirs.items()}, **pair.reference.parameters()})
    run_so_far = {id(p) for n, p in parameters.items() if n in right}
    for name in found.keys() - right.keys():  # what this mode has not run yet has no gradient, unless it is tied
        assert found[name] is None or id(parameters[name]) in run_so_far, name
    scale = greatest([scale * torch.ones(()), *(g for g in right.values() if g is not None)])
    for name in right:
        a, b = found.get(name), right.get(name)
        close(torch.zeros(()) if a is None else a, torch.zeros(()) if b is None else b, name, scale)


def greatest(values: Iterable[Tensor]) -> float:
    """The greatest finite size of an element, at least 1: what rounding goes by."""
    return max(1.0, *(float(v.detach().double().abs().nan_to_num(0, 0, 0).max()) for v in values if v.numel()))


def close(found: Tensor, wanted: Tensor, name: str, scale: float = 1.0) -> None:
    assert found.dtype == wanted.dtype or not wanted.any(), name
    assert torch.allclose(found.double(), wanted.double(), rtol=1e-10, atol=1e-10 * scale, equal_nan=True), name


@settings(max_examples=300, **DRAWN)
@given(recipes())
def test_compiled_equals_reference(text: str) -> None:
    check(text)


@pytest.mark.slow  # what few draws leave out is chance
def test_what_is_drawn_is_all_of_the_language() -> None:
    texts: list[str] = []

    @settings(max_examples=2000, **DRAWN)
    @given(recipes())
    def draw(text: str) -> None:
        texts.append(text)

    draw()
    missing = [w for w in WORDS if not any(re.search(w, text) for text in texts)]
    assert not missing


@pytest.mark.slow
@settings(max_examples=2000, **{**DRAWN, "derandomize": False})
@given(recipes(most=30))
def test_compiled_equals_reference_on_many(text: str) -> None:
    check(text)
