"""Loops that end where their values say so."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from assembler.compile.lower import lower
from assembler.compile.source import to_source
from assembler.errors import ShapeError
from assembler.infer.shape import shapes

NEWTON = """
    inputs: {x: [B]}
    graph:
      one: {op: scale, factor: 0.0, offset: 1}
      root:
        op: loop
        times: 20
        until: near
        carry: [y, steps]
        collect: [seen]
        from: {y: x, steps: one}
        body:
          ratio: {op: div, from: [x, y]}
          twice: {op: add, from: [y, ratio]}
          mid: {op: scale, factor: 0.5}
          move: {op: sub, from: [mid, y]}
          size: abs
          count: {op: scale, offset: 1, from: steps}
          near: {op: aten.lt.Scalar, other: 0.001, from: size}
        outputs: {y: mid, steps: count, seen: mid, near: near}
    outputs: {y: root, steps: root.steps, seen: root.seen}
"""


def newton(x: float) -> tuple[float, int, list[float]]:
    """The root of one number, in how many steps, and all values on the way, the last one kept."""
    y, seen = x, []
    for n in range(20):
        new = 0.5 * (y + x / y)
        near, y = abs(new - y) < 0.001, new
        seen.append(y)
        if near:
            return y, n + 2, seen + [y] * (20 - len(seen))
    raise AssertionError


def check(found: Callable[[Tensor], dict[str, Tensor]]) -> None:
    x = torch.tensor([1.0, 2.0, 400.0])
    made = found(x)
    for n, value in enumerate(x.tolist()):
        y, steps, seen = newton(value)
        assert made["y"][n].item() == pytest.approx(y)
        assert made["steps"][n].item() == steps
        assert made["seen"][n].tolist() == pytest.approx(seen, rel=1e-5)


def test_a_sample_that_is_done_keeps_its_values(model) -> None:
    check(model(NEWTON))


def test_no_iteration_follows_when_all_are_done(model, monkeypatch: pytest.MonkeyPatch) -> None:
    found = model(NEWTON)
    calls: list[int] = []
    body = found.root.body.forward
    monkeypatch.setattr(found.root.body, "forward", lambda **given: calls.append(1) or body(**given))
    found(torch.tensor([1.0, 4.0]))
    assert len(calls) == newton(4.0)[1] - 1


def test_compiled_and_exported_forms_make_the_same(model) -> None:
    found = model(NEWTON)
    check(torch.compile(found, fullgraph=True, backend="eager"))
    check(torch.export.export(found, (torch.tensor([1.0, 2.0, 400.0]),)).module())


def test_the_stand_alone_file_makes_the_same(graph) -> None:
    text = to_source(graph(NEWTON))
    assert "if is_over(done):" in text
    module = types.ModuleType("until_model")
    module.__file__ = "until_model.py"
    sys.modules[module.__name__] = module
    exec(compile(text, "until_model.py", "exec"), module.__dict__)
    check(module.Model())


def test_a_scalar_ends_the_loop_for_all(graph) -> None:
    found: nn.Module = lower(
        graph("""
        inputs: {x: [B, 2]}
        graph:
          go:
            {op: loop, times: 9, until: over, carry: [h], index: n, from: {h: x}, outputs: {h: more, over: over},
             body: {more: {op: scale, offset: 1, from: h}, over: {op: aten.eq.Scalar, other: 3, from: n}}}
    """)
    )
    torch.testing.assert_close(found(torch.zeros(3, 2)), torch.full((3, 2), 4.0))


def test_gradients_stop_where_a_sample_is_done(model) -> None:
    x = torch.tensor([4.0, 100.0], requires_grad=True)
    model(NEWTON)(x)["y"].sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 0.5 / x.detach().sqrt(), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("near: near}", "near: size}"), r"'near' says which samples are done: it is bool, \[B\] or \[\], not float32"),
        (("inputs: {x: [B]}", "inputs: {x: [B, 3]}"), r"not bool \[2, 3\]"),
    ],
)
def test_what_does_not_say_who_is_done_is_refused(graph, change: tuple[str, str], said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        shapes(graph(NEWTON.replace(*change)))
