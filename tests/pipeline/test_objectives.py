"""Runs that train by turns, average their weights or are no classifiers: what they say, key, and end with."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import run_tiny

from assembler import resources
from assembler.assemble.runner import Runner
from assembler.assemble.store import Store
from assembler.errors import RecipeError
from assembler.pipeline.spec import read
from assembler.pipeline.state import Run
from assembler.recipe.document import load, parse

GAN = """
kind: run
name: ring
model:
  inputs: {noise: [B, 4], point: {shape: [B, 2], when: train}}
  blocks:
    critic:
      body: {first: {op: linear, out: 8}, act: relu, score: {op: linear, out: 1}}
  graph:
    generator:
      from: noise
      body: {first: {op: linear, out: 8}, act: relu, out: {op: linear, out: 2}}
    real: {op: critic, from: point}
    fake: {op: critic, from: generator, share: real}
  outputs: {fake: generator, real_score: {from: real, when: train}, fake_score: {from: fake, when: train}}
data: {name: gaussian_mixture, train: 200, validation: 50, test: 50, latent: 4}
task: {loss: energy_distance, value: fake, target: point}
train: {batch: 50, steps: 250, validate_every: 0, clip: null}
phases:
  train:
    train: {ema: {decay: 0.9}}
    turns:
      - name: discriminator
        train: [real]
        objective:
          graph: {away: {op: scale, factor: -1.0, from: real_score}}
          terms: [{loss: softplus, value: away}, {loss: softplus, value: fake_score}]
      - train: [generator]
        every: 2
        lr: 0.002
        objective: {graph: {away: {op: scale, factor: -1.0, from: fake_score}}, terms: [{loss: softplus, value: away}]}
  export: {formats: [safetensors]}
"""


def test_a_gan_is_trained_by_turns_and_judged_by_its_task(places: Path) -> None:
    found = run_tiny(home=places / "home", text=GAN.replace("steps: 250", "steps: 6"))
    last = found.rows("metrics.jsonl")[-1]
    assert {"loss.discriminator", "loss.generator", "loss.discriminator.softplus.away"} <= set(last)
    assert found.summary["result"]["metric"] == "loss" and math.isfinite(found.summary["result"]["test"])


def test_a_model_is_tuned_by_turns_against_a_critic_that_begins_with_the_phase(places: Path) -> None:
    tuned = GAN[GAN.index("    turns:") : GAN.index("  export:")]
    text = GAN.replace("steps: 250", "steps: 4").replace(
        "  export:", "  sharper:\n    phase: tune\n    of: train\n" + tuned + "  export:"
    )
    found = run_tiny(home=places / "home", text=text)
    last = [row for row in found.rows("metrics.jsonl") if row.get("phase") == "sharper"][-1]
    assert {"loss.discriminator", "loss.generator"} <= set(last)


def key(text: str) -> str:
    """The key of the task that the run's training is."""
    spec = read(parse(text))
    state = Run(spec, Runner(Store(resources.store_home()), 1), "cpu", phase="train")
    spec.phases[0].entry.load()(state, **spec.phases[0].options)
    return state.models["train"][0].key


@pytest.mark.parametrize(
    "change",
    [
        ("every: 2", "every: 3"),
        ("decay: 0.9", "decay: 0.8"),
        ("factor: -1.0, from: fake", "factor: -2.0, from: fake"),
        ("lr: 0.002", "lr: 0.003"),
        ("    turns:", "    trained: [real, generator]\n    turns:"),
    ],
)
def test_turns_averages_and_objectives_are_part_of_the_key(change: tuple[str, str]) -> None:
    assert change[0] in GAN
    assert key(GAN) == key(GAN) != key(GAN.replace(*change))


RUN = """
import sys
import assembler as asm
from assembler.recipe.document import parse
folder, _ = asm.run(parse(sys.argv[1]), workers=1, device="cpu")
print(folder)
"""


def start(place: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "ASSEMBLER_HOME": str(place / "home"), "ASSEMBLER_RUNS": str(place / "runs")}
    return subprocess.Popen([sys.executable, "-c", RUN, GAN], env=env, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found through /proc")
def test_a_gan_that_is_killed_on_the_way_ends_with_the_same_weights(tmp_path: Path) -> None:
    models = []
    for place, killed in ((tmp_path / "whole", False), (tmp_path / "killed", True)):
        if killed:
            with start(place) as run:
                _kill_its_worker(run, place)
                run.kill()
        with start(place) as run:
            out, _ = run.communicate(timeout=120)
        models.append((Path(out.strip()) / "model.safetensors").read_bytes())
    assert models[0] == models[1]


def _kill_its_worker(run: subprocess.Popen[str], place: Path) -> None:
    """Strike once the training has logged an epoch and goes on."""
    while run.poll() is None and not list((place / "home" / "tmp").rglob("metrics.jsonl")):
        time.sleep(0.01)
    with suppress(FileNotFoundError, ProcessLookupError):
        found = Path(f"/proc/{run.pid}/task").glob("*/children")
        for pid in {int(pid) for file in found for pid in file.read_text().split()}:
            os.kill(pid, signal.SIGKILL)
    assert run.poll() is None, "it was done before it could be killed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("train: [generator]", "train: [generater]"),
            "<recipe>:28:17: error: the model has no step 'generater'\n"
            "          - train: [generater]\n                    ^^^^^^^^^\n    hint: did you mean 'generator'",
        ),
        (
            ("from: fake_score", "from: ema.fake_scor"),
            "error: 'ema' has no value 'fake_scor'",
        ),
        (
            ("every: 2", "evry: 2"),
            "error: 'turn' has no setting 'evry'\n            evry: 2\n            ^^^^\n    hint: did you mean 'ev",
        ),
        (("every: 2", "every: 0"), "error: 'every' must be at least 1, not 0"),
        (("lr: 0.002", "lr: -1"), "error: 'lr' must be from 0 to 1e+30, not -1"),
        (
            ("factor: -1.0, from: real_score", "factr: -1.0, from: real_score"),
            "error: op 'scale' has no argument 'factr'",
        ),
        (("train: {ema: {decay: 0.9}}", "train: {ema: {decay: 2}}"), "error: 'decay' of 'ema' must be a number from 0"),
        (("value: fake_score}", "value: fake_scores}"), "error: the model has no value 'fake_scores'"),
        (("loss: softplus, value: away}]", "loss: softplu, value: away}]"), "error: unknown loss 'softplu'"),
        (("name: discriminator", "name: generator"), "error: two turns are called 'generator'"),
        (("    turns:", "    trained: [reel]\n    turns:"), "error: the model has no step 'reel'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_before_anything_runs(change: tuple[str, str], message: str) -> None:
    assert change[0] in GAN
    with pytest.raises(RecipeError) as caught:
        read(parse(GAN.replace(*change, 1) if "fake_score" not in change[0] else GAN.replace(*change), "<recipe>"))
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["gan", "mean_teacher", "vae"])
def test_the_shipped_runs_are_right(name: str) -> None:
    assert read(load(name)).phases


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "holds"), [("gan", lambda t: t < 0.02), ("mean_teacher", lambda t: t > 0.95), ("vae", lambda t: t < 0.3)]
)
def test_the_shipped_runs_learn(places: Path, name: str, holds: Any) -> None:
    found = run_tiny(home=places / "home", source=resources.find(name))
    assert holds(found.summary["result"]["test"])


LANGUAGE = """
kind: run
name: letters
model:
  inputs: {tokens: {shape: [B, 8], dtype: int64}}
  graph: {embed: {op: embedding, num_embeddings: 30, out: 8}, head: {op: linear, out: 30}}
  outputs: {logits: head}
data: {name: text, file: FILE, length: 8}
task: {loss: cross_entropy, value: logits, target: next, axis: -1}
metric: METRIC
train: {batch: 16, steps: 60, lr: 0.05}
phases: {train: {}, export: {formats: [safetensors]}}
"""


@pytest.mark.parametrize("metric", ["perplexity", "accuracy"])
def test_a_language_model_is_judged_by_token(places: Path, metric: str) -> None:
    (places / "letters.txt").write_text("the quick brown fox jumps. " * 60)
    text = LANGUAGE.replace("FILE", str(places / "letters.txt")).replace("METRIC", metric)
    found = run_tiny(home=places / "home", text=text).summary["result"]
    assert found["metric"] == metric
    low, high = {"perplexity": (1, 3), "accuracy": (0.7, 1)}[metric]
    assert low < found["test"] < high
