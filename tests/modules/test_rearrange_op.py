"""Rearrange against reshapes and permutes written out, and against its own inverse."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import AssemblerError
from assembler.graph.core import TensorType
from assembler.infer.make import make
from assembler.infer.shape import Refusal, step_type
from assembler.registry import lookup


def rearranged(x, pattern, **sizes):
    return make(lookup("op", "rearrange"), {"pattern": pattern, "sizes": sizes or None}, [tuple(x.shape)])(x)


def refusal(pattern, shape, sizes=()):
    args = (("pattern", pattern), ("sizes", sizes))
    found = step_type("", "rearrange", args, ("x",), (TensorType(shape),), ())
    assert isinstance(found, Refusal)
    return found.why


dim = st.integers(1, 4)


@settings(max_examples=25, deadline=None)
@given(b=dim, h=dim, w=dim, p=dim, q=dim, c=dim)
def test_patches(b, h, w, p, q, c):
    x = torch.randn(b, h * p, w * q, c)
    wanted = x.reshape(b, h, p, w, q, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h * w, p * q * c)
    assert torch.equal(rearranged(x, "b (h p) (w q) c -> b (h w) (p q c)", p=p, q=q), wanted)


@settings(max_examples=25, deadline=None)
@given(b=dim, n=dim, h=dim, d=dim)
def test_heads_into_the_batch_and_back(b, n, h, d):
    x = torch.randn(b, n, h * d)
    folded = rearranged(x, "b n (h d) -> (b h) n d", h=h)
    assert torch.equal(folded, x.reshape(b, n, h, d).transpose(1, 2).reshape(b * h, n, d))
    assert torch.equal(rearranged(folded, "(b h) n d -> b n (h d)", h=h), x)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_swapped_pattern_is_the_inverse(data):
    """Any grouping of any order of axes: there and back is the input."""
    names = list("abcde")[: data.draw(st.integers(2, 5))]
    sizes = {n: data.draw(st.integers(1, 3)) for n in names}

    def grouped(order):
        cuts = [data.draw(st.booleans()) for _ in order[1:]]
        groups = [[order[0]]]
        for name, cut in zip(order[1:], cuts, strict=True):
            groups.append([name]) if cut else groups[-1].append(name)
        return groups

    left, right = grouped(names), grouped(["a", *data.draw(st.permutations(names[1:]))])
    sides = [" ".join(f"({' '.join(g)})" for g in groups) for groups in (left, right)]
    x = torch.randn([math.prod(sizes[n] for n in g) for g in left])
    inner = {n: s for n, s in sizes.items() if n != "a"}
    there = rearranged(x, " -> ".join(sides), **inner)
    assert list(there.shape) == [math.prod(sizes[n] for n in g) for g in right]
    assert torch.equal(rearranged(there, " -> ".join(sides[::-1]), **inner), x)


def test_ones_come_and_go():
    x = torch.randn(2, 1, 3)
    assert torch.equal(rearranged(x, "b 1 c -> b c 1 1"), x.reshape(2, 3, 1, 1))


def test_any_batch_after_it_is_built():
    built = make(lookup("op", "rearrange"), {"pattern": "b c h w -> b (h w) c"}, [(2, 3, 4, 5)])
    assert built(torch.randn(7, 3, 4, 5)).shape == (7, 20, 3)


@pytest.mark.parametrize(
    ("pattern", "sizes", "message"),
    [
        ("b h w", (), "cannot read the pattern 'b h w': it is `names -> names`, groups in parentheses"),
        ("b (h (p q)) -> b h p q", (), "cannot read the pattern 'b (h (p q)) -> b h p q'"),
        ("b c ... -> b ... c", (), "cannot read the pattern"),
        ("b h w -> b h", (), "every name of 'b h w -> b h' needs to stand exactly once on each side"),
        ("b h h -> b h h", (), "every name of 'b h h -> b h h' needs to stand exactly once on each side"),
        ("b c h w -> b h w c", (), "'b c h w -> b h w c' takes 4 axes, the input has 3: [2, 6, 4]"),
        ("b (h p) c -> b h p c", (), "sizes needs all but one of h, p in 'b (h p) c -> b h p c'"),
        (
            "b (h p) c -> b h p c",
            (("p", 4),),
            "axis 1 of 'b (h p) c -> b h p c' has 6 elements, but needs a multiple of 4",
        ),
        ("b (h p) c -> b h p c", (("p", 0),), "has 6 elements, but needs a multiple of 0"),
        ("b n c -> b c n", (("c", 3),), "axis 2 of 'b n c -> b c n' has 4 elements, but needs 3"),
        ("b 1 c -> b c", (), "axis 1 of 'b 1 c -> b c' has 6 elements, but needs 1"),
        ("b n c -> b c n", (("z", 3),), "sizes gives z, which 'b n c -> b c n' does not have"),
        ("b n c -> n b c", (("b", 2),), "the first axis of 'b n c -> n b c' is the batch"),
        ("(b t) n c -> b t n c", (), "the first axis of '(b t) n c -> b t n c' is the batch"),
    ],
)
def test_a_wrong_pattern_says_what_is_wrong(pattern, sizes, message):
    assert message in refusal(pattern, (2, 6, 4), sizes)


@settings(max_examples=100, deadline=None)
@given(pattern=st.text(alphabet="bhw() ->1.", max_size=20))
def test_any_text_rearranges_or_is_refused_in_words(pattern):
    try:
        rearranged(torch.zeros(2, 3, 4), pattern)
    except (AssemblerError, ValueError) as error:
        assert pattern in str(error)
