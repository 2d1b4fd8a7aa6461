"""Recipes small enough to train in a second, and how to read what the command line says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DATA = "{name: blobs, train: 48, validation: 24, test: 24}"
MODEL = """\
kind: model
name: tiny
doc: A tiny model.
vars: {dim: 4}
inputs: {image: [B, 1, 8, 8]}
graph:
  stem: {op: conv2d, out: =dim, kernel_size: 3, padding: 1}
  mid: dwconv
  pool: global_avg_pool
  head: {op: linear, out: 3}
outputs: {logits: head}
"""
SPACE = f"""\
kind: space
name: choices
base: tiny.yaml
choose:
  mid: {{$oneof: [dwconv, pool, identity]}}
search:
  data: {DATA}
  trials: 3
  sampler: random
  train: {{steps: 2}}
"""
RUN = f"""\
kind: run
name: small
model: tiny.yaml
data: {DATA}
split: [mid]
space:
  mid: {{$oneof: [dwconv, pool]}}
seeds: [0]
train: {{steps: 2}}
phases:
  teacher: {{}}
  incubate: {{host: teacher}}
  search: {{trials: 2}}
  assemble: {{}}
  export: {{formats: [safetensors]}}
"""


def last(output: str) -> Any:
    """The JSON object in the last line."""
    return json.loads(output.splitlines()[-1])
