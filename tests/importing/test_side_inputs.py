"""Imported text models whose blocks read a mask: their blocks are slots, are incubated, searched and distilled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import assembler as asm
from assembler.errors import AssemblerError
from assembler.graph.edit import cut
from assembler.graph.text import from_text
from assembler.importing.folder import save
from assembler.importing.imported import from_module
from assembler.pipeline.checking.check import check
from assembler.recipe.document import load

tf = pytest.importorskip("transformers")
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]

SIZES = {"vocab_size": 17, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


class Reader(nn.Module):
    """Reads a picture as words, one for every fourth pixel; the black ones are padding."""

    def __init__(self, text: nn.Module) -> None:
        super().__init__()
        self.text = text
        self.head = nn.Linear(16, 10)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        words = (image[:, 0, ::2, ::2].flatten(1) * 16).long().clamp(0, 16)
        read = self.text(input_ids=words, attention_mask=(words > 0).long()).last_hidden_state
        return {"logits": self.head(read[:, -1])}


def _bert() -> nn.Module:
    return tf.BertModel(tf.BertConfig(**SIZES, max_position_embeddings=16), add_pooling_layer=False)


def _llama() -> nn.Module:
    return tf.LlamaModel(tf.LlamaConfig(**SIZES, max_position_embeddings=16, use_cache=False, num_key_value_heads=1))


RUN = """
kind: run
model:
  extends: words
  blocks:
    small:
      inputs: [x, seen]
      body:
        q: {op: linear, out: 8, from: x}
        mix: {op: dot_product_attention, num_heads: 2, from: {q: q, k: q, v: q, bias: seen}}
        out: {op: linear, out: 16}
data: digits
split: auto
train: {steps: 2, batch: 32}
space:
  LAYER.*:
    $oneof:
      - keep
      - identity
      - {op: small, from: [input, text.and_1]}
phases:
  teacher: {train: {epochs: 0}}
  incubate:
    host: teacher
    start: host
    objective: [{loss: normalized_mse, value: slot, target: host.slot}]
  search: {budget: {params: =0.7 * teacher}}
  assemble: {objective: [{loss: kl, value: logits, target: teacher.logits}]}
  export: {formats: [safetensors]}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _imported(make: Any, home: Path) -> Any:
    torch.manual_seed(0)
    found = from_module(Reader(make()).eval(), {"image": torch.rand(2, 1, 8, 8)})
    save(found, home / "words")
    return found


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (_bert, "text.encoder.layer"),
        pytest.param(_llama, "text.layers", marks=pytest.mark.slow),
    ],
    ids=["bert", "llama"],
)
def test_blocks_that_read_a_mask_are_incubated_searched_and_distilled(make: Any, layer: str, home: Path) -> None:
    graph = _imported(make, home).graph
    assert [cut(graph, f"{layer}.{n}").sides for n in range(2)] == [("text.and_1",)] * 2
    listed = {p.name: p for p in asm.cuts("words").parts}
    assert dict(listed[f"{layer}.1"].sides) == {"text.and_1": graph_type(graph, "text.and_1")}

    (home / "run.yaml").write_text(RUN.replace("LAYER", layer))
    assert check(load(home / "run.yaml")) == []
    folder, summary = asm.run(home / "run.yaml", workers=1, device="cpu")
    assert summary["failures"] == []
    rows = [json.loads(line) for line in (folder / "parts.jsonl").read_text().splitlines()]
    assert {(r["slot"], r["variant"]) for r in rows} == {
        (f"{layer}.{n}", v) for n in range(2) for v in ("keep", "identity", "small")
    }
    tried = [json.loads(line) for line in (folder / "candidates.jsonl").read_text().splitlines()]
    chosen = summary["result"]["choice"]
    best = next(row for row in tried if row["choice"] == chosen)
    assert best["score"] == summary["result"]["before_tuning"] and best["params"] == summary["result"]["params"]
    winner = from_text((folder / "graph.txt").read_text())
    reads = {s: any("text.and_1" in n.sources for i, n in winner if i.startswith(f"{s}.")) for s in chosen}
    assert reads == {s: v != "identity" for s, v in chosen.items()}
    image = torch.rand(3, 1, 8, 8)
    assert asm.build(folder)(image).shape == (3, 10)


def graph_type(graph: Any, i: str) -> tuple[int, ...]:
    from assembler.infer.shape import shapes

    return shapes(graph)[i].shape


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        (
            "{body: {q: {op: linear, out: 16}, add: {op: add, from: [q, text.encoder.layer.1]}}}",
            "steps read each other in a cycle: text.encoder.layer.0.add -> ",
        ),
        (
            "{op: add, from: [input, text.encoder.layer.0.output.dense]}",
            "a part for 'text.encoder.layer.0' reads 'text.encoder.layer.0.output.dense', which is a step of what it",
        ),
        ("{op: add, from: [input, text.and_2]}", "step 'new' reads 'text.and_2'"),
        ("{op: small}", "'seen'"),
    ],
)
def test_what_a_candidate_cannot_read(candidate: str, message: str, home: Path, bert: Any) -> None:
    save(bert, home / "words")
    space = f"set:\n  text.encoder.layer.0: {candidate}\n"
    text = RUN[: RUN.index("space:")] + space + RUN[RUN.index("phases:") :]
    (home / "run.yaml").write_text(text)
    with pytest.raises(AssemblerError) as error:
        raise_all(check(load(home / "run.yaml", strict=False)))
    assert message in str(error.value)


def raise_all(problems: Any) -> None:
    if problems:
        raise AssemblerError(problems)


@pytest.fixture(scope="module")
def bert() -> Any:
    torch.manual_seed(0)
    return from_module(Reader(_bert()).eval(), {"image": torch.rand(2, 1, 8, 8)})
