"""The rewrite phase of a run, and the verb `assembler rewrite`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import assembler as asm
from assembler.compile.weights import read_weights
from assembler.errors import RecipeError
from assembler.graph.text import from_text
from assembler.pipeline.checking.check import check
from assembler.recipe.document import load, parse
from assembler.rewrites.modules import filled

MODEL = """\
inputs: {image: [B, 1, 6, 6]}
graph:
  stem: {op: conv2d, out: 4, kernel_size: 3, padding: 1}
  norm: batch_norm2d
  act: relu
  pool: {op: avg_pool2d, kernel_size: 3}
  flat: flatten
  head: {op: linear, out: 3}
outputs: {logits: head}
"""
RUN = f"""\
kind: run
name: rewritten
model:
{"".join("  " + line + chr(10) for line in MODEL.splitlines())}\
data: {{name: blobs, train: 48, validation: 24, test: 24, size: 6}}
train: {{batch: 24, lr: 2e-2, epochs: 3}}
phases:
  teacher: {{}}
  folded:
    phase: rewrite
    of: teacher
    apply: [fold_batch_norm]
  small:
    phase: rewrite
    of: folded
    apply: [{{rewrite: low_rank, at: head, energy: 0.1}}]
  tuned:
    phase: rewrite
    of: folded
    apply: [{{rewrite: widen, at: stem, out: 6}}, deepen]
    train: {{epochs: 1}}
    objective: [{{loss: kl, value: logits, target: teacher.logits}}]
  export: {{formats: [safetensors]}}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Store, runs and working folder of a test."""
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.yaml").write_text(f"kind: model\nname: net\n{MODEL}")
    return tmp_path


def call(*words: object) -> Result:
    """The command line in this process."""
    from assembler.cli.app import app

    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_run_rewrites_its_models_and_exports_the_last() -> None:
    folder, summary = asm.run(parse(RUN), workers=1, device="cpu")
    models = summary["models"]
    assert models["folded"]["test"] == models["teacher"]["test"]
    assert models["folded"]["params"] == models["teacher"]["params"] - 8  # scale and shift of four channels
    assert models["small"]["params"] < models["folded"]["params"]
    assert summary["result"]["model"] == "tuned"
    graph = from_text((folder / "graph.txt").read_text())
    assert list(graph.nodes) == ["stem", "act", "act_layer", "act_again", "pool", "flat", "head"]
    assert graph.nodes["stem"].arg("out") == graph.nodes["act_layer"].arg("out") == 6
    module = filled(graph, read_weights(folder / "model.safetensors"))
    assert module(torch.zeros(2, 1, 6, 6)).shape == (2, 3)
    events: list[str] = []
    asm.run(parse(RUN), workers=1, device="cpu", on_event=lambda e: events.append(e.kind))
    assert "done" not in events, "a finished rewrite was made again"


WRONG = [
    ("of: teacher", "of: teachr", "the model 'teachr' is to be rewritten, and no phase before this one makes it"),
    ("[fold_batch_norm]", "[fold_batchnorm]", "unknown rewrite 'fold_batchnorm'"),
    ("[fold_batch_norm]", "fold_batch_norm", "'apply' must be a list of rewrites"),
    ("energy: 0.1", "enrgy: 0.9", "rewrite 'low_rank' has no option 'enrgy'"),
    ("energy: 0.1", "energy: 2.0", "'energy' of low_rank must be above 0 and at most 1, not 2.0"),
    ("[fold_batch_norm]", "[{rewrite: fold_batch_norm, at: nrm}]", "there is no step 'nrm' in the model"),
    ("[fold_batch_norm]", "[{at: norm}]", "a rewrite needs 'rewrite', the name of one"),
    ("[fold_batch_norm]", "[{rewrite: fold_batch_norm, at: 3}]", "'at' must be the path of a step, or a pattern"),
]


@pytest.mark.parametrize(("old", "new", "said"), WRONG, ids=[w[1] for w in WRONG])
def test_lint_says_what_is_wrong_with_a_phase_and_where(place: Path, old: str, new: str, said: str) -> None:
    assert old in RUN
    file = place / "run.yaml"
    file.write_text(RUN.replace(old, new, 1))
    found = [p for p in check(load(file, strict=False)) if p.message == said]
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if new.split("[")[-1].rstrip("]}") in text)
    assert [p.span.line for p in found if p.span] == [line]


def test_a_place_that_is_none_is_told_before_anything_is_trained() -> None:
    text = RUN.replace("{rewrite: widen, at: stem, out: 6}", "{rewrite: widen, at: act}")
    with pytest.raises(RecipeError) as caught:
        asm.run(parse(text), workers=1, device="cpu", on_event=lambda e: pytest.fail(f"{e} began"))
    assert caught.value.problems[0].message == "widen cannot be applied at 'act'"
    assert caught.value.problems[0].span is not None


def test_the_verb_shows_the_difference_and_writes_the_result(place: Path) -> None:
    assert call("build", "net.yaml", "--out", "built").exit_code == 0
    result = call(
        *("rewrite", "net.yaml", "fold_batch_norm", "low_rank:rank=2,at=head", "--weights", "built/model.safetensors"),
        *("--out", "small", "--json"),
    )
    assert result.exit_code == 0, result.output
    assert "- norm: batch_norm2d(input=%stem)" in result.stdout
    assert "the function changes: low_rank" in result.stdout
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["before"]["params"] - told["after"]["params"] == 8 + 16 * 3 - 2 * (16 + 3)
    graph = from_text((place / "small" / "graph.txt").read_text())
    filled(graph, read_weights(place / "small" / "model.safetensors"))
    assert call("export", "small", "--format", "source").exit_code == 0


def test_the_verb_tells_mistakes() -> None:
    wrong = {
        ("low_rank:rank=2", "--at", "haed"): ("there is no step 'haed' in net", "did you mean 'head'?"),
        ("low_rank:rnk=2",): ("rewrite 'low_rank' has no option 'rnk'", "did you mean 'rank'?"),
        ("low_rank:rank",): ("'low_rank:rank' is no rewrite with options", "for instance low_rank:rank=8,at=head"),
        ("low_rank:energy=0.9",): ("low_rank goes by the weights here", "give --weights FILE"),
        ("widden",): ("unknown rewrite 'widden'", "did you mean 'widen'?"),
    }
    for words, (said, hint) in wrong.items():
        result = call("rewrite", "net.yaml", *words)
        assert said in result.stderr and hint in result.stderr, result.stderr
        assert result.exit_code == 2


def test_ls_lists_rewrites_with_their_options_and_what_they_keep() -> None:
    listed = {
        one["name"]: one["doc"]
        for one in json.loads(call("ls", "rewrites", "--json").stdout.splitlines()[-1])["rewrites"]
    }
    assert listed["widen"].endswith("; keeps the function; options factor=2.0, out=null, seed=0")
    assert listed["low_rank"].endswith("; changes the function; options rank=null, energy=null, ratio=null")
    assert listed["fold_batch_norm"].endswith("; keeps the function")


def test_steps_that_a_rewrite_has_made_are_trained_alone() -> None:
    """By the phase itself, and by one that goes on with its model; lint cannot know them and says nothing."""
    begin = RUN[: RUN.index("  folded:")] + (
        "  adapted:\n    phase: rewrite\n    of: teacher\n    apply: [{rewrite: adapt, at: head, args: {rank: 2}}]\n"
        "    trained: [head.adapter]\n    train: {epochs: 1}\n"
    )
    end = "  tuned: {phase: tune, of: adapted, trained: [head.adapter], train: {epochs: 1}}\n"
    made = []
    for text in (begin, begin + end):
        assert not check(parse(text + "  export: {formats: [safetensors]}\n"))
        folder, _ = asm.run(parse(text + "  export: {formats: [safetensors]}\n"), workers=1, device="cpu")
        made.append(read_weights(folder / "model.safetensors"))
    first, second = made
    assert first["head.adapter.b"].any(), "the adapter was not trained"
    assert [key for key in first if not torch.equal(first[key], second[key])] == ["head.adapter.a", "head.adapter.b"]
    folder, summary = asm.run(
        parse(begin + end + "  merged: {phase: rewrite, of: tuned, apply: [merge_adapters]}\n"), workers=1, device="cpu"
    )
    assert summary["models"]["merged"]["params"] == summary["models"]["teacher"]["params"]
    assert summary["models"]["merged"]["test"] == summary["models"]["tuned"]["test"]
