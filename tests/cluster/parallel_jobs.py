"""A training by several processes that a test starts itself, and the same by one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import assembler as asm
from assembler.recipe.document import parse
from assembler.train.world import How, World, together

MODEL = """
kind: model
name: net
inputs: {image: [B, 1, 6, 6]}
graph:
  stem: {op: conv2d, out: 8, kernel_size: 3, padding: 1, bias: false}
  norm: batch_norm2d
  act: relu
  mix: {op: residual, body: {norm: {op: group_norm, num_groups: 1}, mlp: {op: conv_mlp, ratio: 2}}}
  flat: flatten
  wide: {op: linear, out: 250}
  bend: gelu
  again: {op: linear, out: 250}
  twice: {op: linear, out: 250, share: again}
  head: {op: linear, out: 3}
  worth: {op: mean, from: wide}
outputs: {logits: head, worth: worth, wide: wide}
"""
TASK = [
    {"loss": "cross_entropy", "value": "logits", "target": "label"},
    {"loss": "info_nce", "value": "wide", "target": "wide", "weight": 0.1},
    {"value": "worth", "weight": 0.1},
]
SETTINGS = {"steps": 9, "batch": 20, "lr": 0.02, "optimizer": "sgd", "weight_decay": 0.0}
DATA = {"name": "blobs", "train": 70, "validation": 30, "test": 30, "size": 6}


def trained() -> tuple[dict[str, torch.Tensor], tuple[float, float], float]:
    """Weights, validation score and loss, mean loss of the last epoch."""
    torch.set_num_threads(1)
    found = asm.train(parse(MODEL), DATA, settings=SETTINGS, task=TASK, metric="accuracy", device="cpu")
    return found.weights, found.after, found.fit.loss


def one_of(rank: int, size: int, how: How, folder: str) -> None:
    """Train as one of several processes, and keep what came of it."""
    dist.init_process_group("gloo", rank=rank, world_size=size, init_method=f"file://{folder}/meet-{how}-{size}")
    with together(World(rank, size, how)):
        found: Any = trained()
    torch.save(found, Path(folder) / f"{how}-{size}-{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # what torch leaves in threads is not ours to wait for
