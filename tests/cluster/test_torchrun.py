"""Processes that torchrun starts train together: the same result as one of them, and nothing lost where one dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from conftest import below
from parallel_jobs import one_of, trained
from safetensors.torch import load_file

from assembler.assemble.product import Product
from assembler.assemble.store import Store

RUN = """\
kind: run
name: pair
model:
  inputs: {image: [B, 1, 6, 6]}
  graph:
    stem: {op: conv2d, out: 6, kernel_size: 3, stride: 2, padding: 1, bias: false}
    norm: batch_norm2d
    stage:
      repeat: 2
      body:
        mix: {op: residual, body: {norm: {op: group_norm, num_groups: 1}, token: dwconv}}
        mlp: {op: residual, body: {ffn: {op: conv_mlp, ratio: 2}}}
    pool: global_avg_pool
    wide: {op: linear, out: 300}
    bend: gelu
    wider: {op: linear, out: 300}
    head: {op: linear, out: 3}
  outputs: {logits: head}
data: {name: blobs, train: 96, validation: 48, test: 48, size: 6}
seeds: [0]
split: [stage.0]
space:
  stage.0.mix.token: {$oneof: [dwconv, pool]}
train: {batch: 25, lr: 0.1, epochs: 2, optimizer: sgd}
phases:
  teacher: {}
  incubate:
    host: teacher
    start: host
    objective: [{loss: normalized_mse, value: slot, target: host.slot}]
  search: {sampler: exact, trials: 2}
  assemble:
    objective:
      - {loss: cross_entropy, value: logits, target: label, weight: 0.5}
      - {loss: kl, value: logits, target: teacher.logits, weight: 0.5}
  more: {phase: tune, of: assembled}
  export: {formats: [safetensors]}
"""
PHASES = {"teacher", "incubate", "search", "assemble", "more", "test"}
LONG = "phases.incubate.train.epochs=60"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torchrun")
    (folder / "pair.yaml").write_text(RUN)
    return folder


@pytest.fixture(scope="module")
def alone(place: Path) -> Store:
    """The store of the run by one process."""
    done = started(place, "alone", "-m", "assembler")
    said, _ = done.communicate(timeout=300)
    assert done.returncode == 0, said
    return Store(place / "alone")


def started(place: Path, home: str, *before: str, more: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [sys.executable, *before, "run", str(place / "pair.yaml"), "--device", "cpu", *more]
    env = {**os.environ, "ASSEMBLER_HOME": str(place / home), "ASSEMBLER_RUNS": str(place / "runs")}
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env={**env, "OMP_NUM_THREADS": "1"}, text=True, **out)  # type: ignore[call-overload,no-any-return]


def two(place: Path, home: str, how: str, *more: str) -> subprocess.Popen[str]:
    launch = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "assembler")
    return started(place, home, *launch, more=("--parallel", how, *more))


def finished(run: subprocess.Popen[str]) -> str:
    said, _ = run.communicate(timeout=200)
    assert run.returncode == 0, said
    return said


def alike(one: Product, other: Product) -> None:
    """The same within what sums in another order come to."""
    assert one.files == other.files and one.result.get("choice") == other.result.get("choice")
    for name in ("validation", "loss", "score", "test", "train_flops", "steps"):
        if name in one.result:
            assert other.result[name] == pytest.approx(one.result[name], rel=1e-3, abs=1e-4), one.card["label"]
    if "weights.safetensors" in one.files:
        ours, theirs = (load_file(p.file("weights.safetensors")) for p in (one, other))
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_a_run_by_two_processes_is_the_run_by_one(place: Path, alone: Store, how: str) -> None:
    said = finished(two(place, how, how))
    assert said.count("report  ") == 1, said
    theirs = {p.card["label"]: p for p in Store(place / how).products()}
    ours = {p.card["label"]: p for p in alone.products()}
    assert ours.keys() == theirs.keys() and {p.card["phase"] for p in ours.values()} >= PHASES
    for name, product in ours.items():
        found = theirs[name]
        searched = product.card["phase"] == "search"  # which is given the parts' scores
        assert found.key == product.key or searched, name
        alike(product, found)
        assert found.card["about"]["processes"] == {"count": 2, "parallel": how}
        assert "processes" not in product.card["about"]


def test_variants_are_trained_at_once_by_two_processes_with_ddp_alone(place: Path, alone: Store) -> None:
    nested = ("-o", "phases.incubate.nested={steps: 8}")
    finished(started(place, "alone", "-m", "assembler", more=nested))
    finished(two(place, "ddp", "ddp", *nested))
    (ours,), (theirs,) = ([p for p in store.products() if p.card["run"].endswith(":nested")]
                          for store in (alone, Store(place / "ddp")))  # fmt: skip
    assert ours.key == theirs.key and ours.result["drawn"] == theirs.result["drawn"]
    alike(ours, theirs)
    for number in range(2):
        one, other = (load_file(p.file(f"{number}.safetensors")) for p in (ours, theirs))
        for name, tensor in one.items():
            torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-4)
    said, _ = two(place, "fsdp", "fsdp", *nested).communicate(timeout=200)
    assert "error: nested variants cannot be divided among processes\n    hint: use ddp" in said, said


@pytest.mark.parametrize(("how", "rank"), [("ddp", "1"), ("fsdp", "0")])
def test_a_process_dies_and_the_run_goes_on_when_it_is_started_again(place: Path, how: str, rank: str) -> None:
    home = f"killed-{how}"
    run = two(place, home, how, "-o", LONG)
    assert run.stdout
    heard = []
    while not any("[incubate 0/2]" in line and "step" in line for line in heard):
        heard.append(run.stdout.readline())
        assert heard[-1], "".join(heard)
    os.kill(next(pid for pid in below(run.pid) if ranked(pid) == rank), signal.SIGKILL)
    said, _ = run.communicate(timeout=100)
    assert run.returncode != 0 and "hint: run the same command again: what is finished is kept" in said, said
    if rank == "1":
        assert "error: another process of this run has died" in said or "one of its processes died" in said, said
    before = {p.key: (p.path / "card.json").stat() for p in Store(place / home).products()}
    assert before
    finished(two(place, home, how, "-o", LONG))
    after = {p.key: (p.path / "card.json").stat() for p in Store(place / home).products()}
    assert all(after[key].st_ino == stat.st_ino and after[key].st_mtime_ns == stat.st_mtime_ns
               for key, stat in before.items())  # fmt: skip
    assert len(after) > len(before)


def test_a_part_that_diverges_fails_in_all_processes_and_the_run_says_why(place: Path) -> None:
    run = two(place, "diverged", "ddp", "-o", "phases.incubate.train.lr=1e30", "-o", "phases.incubate.train.clip=null")
    said, _ = run.communicate(timeout=300)
    assert run.returncode != 0
    assert "failed: the loss is" in said and "every variant with weights of 'stage.0' failed (seed 0)" in said, said


@pytest.mark.parametrize(("how", "size"), [("ddp", 3), ("fsdp", 3)])
def test_losses_over_a_batch_and_batch_norms_are_those_of_the_whole_batch(tmp_path: Path, how: str, size: int) -> None:
    weights, after, loss = trained()
    torch.multiprocessing.spawn(one_of, (size, how, str(tmp_path)), nprocs=size)  # type: ignore[no-untyped-call]
    for rank in range(size):
        found, judged, mean = torch.load(tmp_path / f"{how}-{size}-{rank}.pt")
        assert judged == pytest.approx(after, rel=1e-3) and mean == pytest.approx(loss, rel=1e-4)
        for name, tensor in weights.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4)


def ranked(pid: int) -> str:
    """The rank of a process that torchrun started, "" of any other."""
    try:
        words: Iterator[str] = iter(Path(f"/proc/{pid}/environ").read_text().split("\0"))
    except OSError:
        return ""
    return next((word.partition("=")[2] for word in words if word.startswith("RANK=")), "")
