"""What a new model begins as: recipes of it and of a run that trains it on the digits, with comments."""

from __future__ import annotations

MODEL = """\
# A model: what goes in, its steps in order, what comes out. Docs: docs/concepts.md, docs/any-model.md.
#   assembler lint {name}.yaml     checks it
#   assembler plan {name}.yaml     shapes, parameters and FLOPs of every step
#   assembler show {name}.yaml     the graph
kind: model
name: {name}
doc: A small residual network for the 8x8 digits.
# Numbers that expressions (=...) below read. On the command line: -o vars.dim=32
vars: {{dim: 16, depth: 2}}
# B is the batch.
inputs: {{image: [B, 1, 8, 8]}}
graph:
  # A step reads the one before it, unless `from:` names others. Widths that come in are inferred, `out` is the width
  # that it makes. `assembler ops` lists what there is; any torch.nn class works under its own name too.
  stem: {{op: conv2d, out: =dim, kernel_size: 3, padding: 1}}
  block:
    op: residual
    repeat: =depth
    body:
      norm: batch_norm2d
      # To search over it:
      #   assembler search {name}.yaml --data digits -o 'block.mix={{$oneof: [dwconv, pool, conv_mlp]}}'
      mix: dwconv
      mlp: {{op: conv_mlp, ratio: 2}}
  norm: batch_norm2d
  pool: global_avg_pool
  head: {{op: linear, out: 10}}
outputs: {{logits: head}}
"""
RUN = """\
# A run: phases, one after another, on one data set. What is finished is not made again.
#   assembler run {name}_run.yaml
#   assembler report {name}_run
kind: run
name: {name}_run
doc: Train {name} on the digits.
model: {name}.yaml
# `assembler ls datasets` lists what there is; {{name: npz, path: my.npz}} reads your own.
data: {{name: digits}}
# One model a seed; the report shows their spread.
seeds: [0]
train: {{epochs: 8, batch: 64, lr: 0.01}}
phases:
  train: {{}}
  export: {{formats: [safetensors, source]}}
"""
