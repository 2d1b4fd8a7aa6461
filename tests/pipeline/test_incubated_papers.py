"""What the incubation papers' recipes rest on: stages of the assembly are the incubated tensors, in any order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import assembler as asm
from assembler.assemble.runner import Event
from assembler.assemble.store import Store
from assembler.assemble.weights import whole_keys
from assembler.compile.weights import read_weights
from assembler.graph.text import from_text

SHORT = (
    *("train.steps=3", "phases.meta.train.steps=3", "seeds=[0]"),
    *("phases.assemble.train.steps=null", "phases.assemble.train.epochs=0", "phases.export={formats: [safetensors]}"),
)


def assembled(home: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, torch.Tensor], list[Event]]:
    monkeypatch.setenv("ASSEMBLER_HOME", str(home))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(home / "runs"))
    events: list[Event] = []
    folder, _ = asm.run("deep_incubation", *SHORT, workers=workers, device="cpu", on_event=events.append)
    return dict(asm.build(folder).state_dict()), [e for e in events if e.kind == "done"]


def test_the_stages_of_the_assembly_are_the_incubated_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, events = assembled(tmp_path / "one", 1, monkeypatch)
    store, seen = Store(tmp_path / "one"), set()
    for event in events:
        if event.task.phase == "incubate":
            inputs, product = event.task.parameters, store.get(event.task.key)
            assert product is not None
            own = read_weights(product.file("weights.safetensors"))
            for key, tensor in whole_keys(own, inputs["slot"], from_text(inputs["part"])).items():
                assert torch.equal(made[key], tensor), key
                seen.add(key)
    assert seen == set(made)
    again, _ = assembled(tmp_path / "two", 2, monkeypatch)
    assert all(torch.equal(tensor, again[key]) for key, tensor in made.items())
