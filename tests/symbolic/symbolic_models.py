"""A recipe with every kind of container, and what makes it symbolic."""

from __future__ import annotations

from assembler.recipe.document import parse
from assembler.symbolic.recipe import Recipe, symbolic

TEXT = """
kind: model
name: small
vars: {widths: [8, 12], depth: 2}
inputs: {image: [B, 1, 8, 8]}
blocks:
  unit:
    params: {mixer: dwconv, ratio: 2}
    body:
      mix: {op: residual, body: {norm: {op: group_norm, num_groups: 1}, token: {op: =mixer}}}
      mlp: {op: residual, body: {ffn: {op: conv_mlp, ratio: =ratio}}}
graph:
  stage:
    for: {w: =widths}
    body:
      embed: {op: conv2d, out: =w, kernel_size: 3, padding: 1}
      block: {op: unit, repeat: =depth}
  arms:
    op: branches
    merge: add
    body: {left: {op: conv2d, out: 12, kernel_size: 1}, right: identity}
  pool: global_avg_pool
  head: {op: linear, out: 4}
outputs: {logits: head}
"""


def small() -> Recipe:
    """A fresh symbolic recipe of it."""
    return symbolic(parse(TEXT))
