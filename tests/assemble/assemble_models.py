"""Small hosts, parts and data for the tests of parts in hosts."""

from __future__ import annotations

from typing import Any

from assembler.assemble.models import Model, Task, Training
from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.graph.edit import extract
from assembler.infer.shape import shapes
from assembler.recipe.document import parse
from assembler.train.data.core import Data, load
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec
from assembler.wiring.build import build

TASK = {"loss": "cross_entropy", "value": "logits", "target": "label"}
BLOCKWISE = {"loss": "normalized_mse", "value": "slot", "target": "host.slot"}

HOST = """
kind: model
inputs: {image: [B, 1, 6, 6]}
graph:
  stem: {op: conv2d, out: 6, kernel_size: 3, padding: 1}
  early: {op: batch_norm2d, from: stem}
  stage:
    repeat: 2
    body:
      mix: {op: residual, body: {norm: {op: batch_norm2d}, token: {op: TOKEN, kernel_size: 3, EXTRA}}}
      mlp: {op: residual, body: {ffn: {op: conv_mlp, ratio: 2}}}
  skip: {op: conv2d, out: 6, kernel_size: 1, from: stem}
  join: {op: add, from: [stage, skip]}
  pool: global_avg_pool
  head: {op: linear, out: 3}
outputs: {logits: head}
"""


def graph(token: str = "dwconv", extra: str = "") -> Graph:
    """A model with batch normalisation before, inside and after the slots, and a skip connection past them."""
    text = HOST.replace("TOKEN", token).replace(", EXTRA", f", {extra}" if extra else "")
    return build(parse(text).model, name="small")


def part(slot: str, token: str = "dwconv", extra: str = "") -> Graph:
    """The slot's region of such a model as a graph of its own."""
    whole = graph(token, extra)
    return extract(whole, slot, shapes(whole))


def model(wanted: Graph, seed: int = 0) -> Model:
    """A model with the initial weights of a seed, and running statistics that are not the initial ones."""
    module = lower(wanted, seed=seed)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_mean"):
            tensor.add_(0.25)
    return Model(wanted, {k: v.detach().clone() for k, v in module.state_dict().items()})


def data(train: int = 32) -> Data:
    """Made-up images of three classes."""
    return load({"name": "blobs", "train": train, "validation": 16, "test": 16, "size": 6})


def task() -> Task:
    """Classification."""
    return Task(Objective.from_spec([TASK]))


def training(*terms: dict[str, Any], start: Any = "random", seed: int = 0, **settings: Any) -> Training:
    """A few steps on the terms, by default on the labels."""
    spec = FitSpec.from_spec({"steps": 3, "batch": 16, "lr": 1e-2, **settings})
    return Training(Objective.from_spec(list(terms) or [TASK]), spec, seed, start)
