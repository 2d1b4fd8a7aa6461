"""The stand-alone `model.py` of an imported model."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import assembler as asm
from assembler.compile.source import to_source


def test_an_imported_model_is_written_as_a_readable_file(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=99, n_positions=32)
    module, tokens = transformers.GPT2Model(config).eval(), torch.randint(0, 99, (2, 10))
    imported = asm.from_module(module, tokens)
    built, text = imported.build().eval(), to_source(imported.graph)
    file = tmp_path / "model.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location("imported_model", file)
    assert spec and spec.loader
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    model = alone.Model().eval()
    model.load_state_dict(built.state_dict())
    torch.testing.assert_close(model(tokens), built(tokens), rtol=0, atol=0)
    torch.testing.assert_close(model(tokens), module(tokens).last_hidden_state)
    assert "for h in self.h:" in text
    assert len(text.splitlines()) < 300
    with pytest.raises(ValueError, match=r"axis 1 of input_ids was traced at 10, and is 11$"):
        model(torch.zeros(2, 11, dtype=torch.int64))
    with pytest.raises(ValueError, match="expected 2, got 1"):
        model(tokens[0])
