"""Copies that read for themselves, and arms of branches that have no copy."""

from __future__ import annotations

import re
import textwrap

import pytest
import torch

from assembler.errors import RecipeError

DECODER = """
    inputs: {x: [B, 4]}
    blocks:
      up: {inputs: [x, skip], body: {both: {op: concat, dim: -1, from: [x, skip]}, out: {op: linear, out: 4}}}
    graph:
      a: {op: linear, out: 4}
      b: {op: linear, out: 2}
      c: {op: linear, out: 3}
      up: {op: up, for: {skip: [b, a]}, from: [input, =skip]}
"""
ARMS = """
    inputs: {x: [B, 4]}
    graph:
      m: {op: branches, merge: add, body: {long: {op: linear, out: 4}, short: {op: linear, out: 4, repeat: COUNT}}}
"""


def test_copies_read_what_their_own_from_says(model) -> None:
    found = model(DECODER)
    x = torch.randn(2, 4)
    a = found.a(x)
    b = found.b(a)
    up = found.up.get_submodule
    first = up("0.out")(torch.cat([found.c(b), b], -1))
    torch.testing.assert_close(found(x), up("1.out")(torch.cat([first, a], -1)))


@pytest.mark.parametrize(
    "source", ["=names[j]", "=names[j] if j else names[0]", "['=names[j]']", "{input: '=names[j]'}"]
)
def test_repeated_steps_read_by_number(graph, source: str) -> None:
    found = graph(f"""
        inputs: {{x: [B, 4], y: [B, 4]}}
        vars: {{names: [x, y]}}
        graph:
          side: {{op: linear, out: 4, repeat: 2, from: {source if source[0] in "[{" else f'"{source}"'}}}
          sum: {{op: add, from: [side.0, side.1]}}
    """)
    assert [found.nodes[f"side.{n}"].sources for n in range(2)] == [("x",), ("y",)]


def test_a_name_that_no_copy_has_is_told(graph) -> None:
    with pytest.raises(RecipeError, match="unknown name 'level'"):
        graph("inputs: {x: [B, 4]}\ngraph: {a: {op: linear, out: 4, repeat: 2, from: =level}}")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_an_arm_of_no_copies_is_the_input(model, count: int) -> None:
    found = model(ARMS.replace("COUNT", str(count)))
    x = torch.randn(2, 4)
    short = x
    for n in range(count):
        short = found.m.short.get_submodule(str(n))(short)
    torch.testing.assert_close(found(x), found.m.long(x) + short)


DENSE = """
    inputs: {x: [B, 4]}
    graph:
      stem: {op: linear, out: 4}
      layer:
        repeat: 3
        body:
          seen: {op: add, from: [stem, layer.*.out]}
          out: {op: linear, out: 4}
          both: {op: add, from: [layer.*.both, layer.*.out]}
"""


def test_a_copy_reads_all_copies_before_it_and_its_own_steps(graph) -> None:
    found = graph(DENSE)
    assert found.nodes["layer.0.seen"].sources == ("stem",)
    assert found.nodes["layer.2.seen"].sources == ("stem", "layer.0.out", "layer.1.out")
    assert found.nodes["layer.0.both"].sources == ("layer.0.out",)
    assert found.nodes["layer.1.both"].sources == ("layer.0.both", "layer.0.out", "layer.1.out")


def test_copies_before_are_found_in_a_container_too(graph) -> None:
    inside = textwrap.indent(textwrap.dedent(DENSE).partition("graph:\n")[2], "    ")
    found = graph(f"inputs: {{x: [B, 4]}}\ngraph:\n  stage:\n    body:\n{textwrap.indent(inside, '    ')}")
    assert found.nodes["stage.layer.1.seen"].sources == ("stage.stem", "stage.layer.0.out")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[stem, layer.*.oat]", "step 'seen' reads 'layer.*.oat', and no step before it is called so"),
        ("[layer.*.out]", "step 'seen' reads the copies before it alone, and there is none before the first"),
    ],
)
def test_copies_that_are_not_before_it_are_told(graph, written: str, said: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)):
        graph(DENSE.replace("[stem, layer.*.out]", written))
