"""Imported models as folders, written by `assembler import`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import assembler as asm
from assembler.errors import InputError
from assembler.importing.folder import read, save
from assembler.importing.imported import from_module
from assembler.importing.sources import example_of, module_of

FILE = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(16, 8), nn.Linear(8, 4))

def pair():
    return nn.Sequential(nn.Linear(4, 4)), torch.randn(2, 4)

def number():
    return 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(FILE)
    return path


def test_a_folder_reads_back(tmp_path: Path, file: Path) -> None:
    module, example = module_of(f"{file}:pair")
    found = from_module(module, example)
    save(found, tmp_path / "out", "here")
    again = read(tmp_path / "out")
    assert again.graph == found.graph
    x = torch.randn(3, 4)
    torch.testing.assert_close(again.build()(x), module(x))
    said = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (said["source"], said["fingerprint"]) == ("here", found.fingerprint)


def test_a_folder_is_a_model_like_a_recipe(tmp_path: Path, file: Path) -> None:
    module, example = module_of(f"{file}:pair")
    found = from_module(module, example)
    save(found, tmp_path / "out")
    assert asm.graph(tmp_path / "out") == found.graph
    assert asm.plan(tmp_path / "out" / "graph.txt").cost.params == 20
    x = torch.randn(3, 4)
    torch.testing.assert_close(asm.build(tmp_path / "out")(x), module(x))


def test_what_is_wrong_with_a_graph_file_has_its_place(tmp_path: Path) -> None:
    (tmp_path / "graph.txt").write_text('graph "m" (%x: float32[2, 4]) {\n  %a = relu(input=%z)\n  return y = %a\n}\n')
    with pytest.raises(asm.AssemblerError) as caught:
        asm.graph(tmp_path)
    first, *rest = str(caught.value).split("\n")
    assert first == f"{tmp_path / 'graph.txt'}:2:19: error: '%z' is not defined above"
    assert rest == ["      %a = relu(input=%z)", "                      ^^"]


def test_sources_that_are_none(file: Path) -> None:
    for source, message in (
        ("nets", "'nets' is no FILE.py:FUNCTION and no hf:MODEL"),
        (f"{file}:mak", f"{file} has no function 'mak'\n    hint: did you mean 'make'?"),
        (f"{file}:number", f"{file}:number gives a int, not a torch.nn.Module"),
        ("gone.py:make", "there is no file gone.py"),
    ):
        with pytest.raises(InputError) as caught:
            module_of(source)
        assert str(caught.value).startswith(f"error: {message}")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_folder_of_transformers_without_and_with_weights(tmp_path: Path) -> None:
    tf = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = tf.ViTConfig(image_size=8, patch_size=4, architectures=["ViTForImageClassification"], **sizes)
    config.save_pretrained(tmp_path)
    module, example = module_of(f"hf:{tmp_path}")
    assert (type(module).__name__, example["pixel_values"].shape) == ("ViTForImageClassification", (2, 3, 8, 8))
    module.save_pretrained(tmp_path)
    again, _ = module_of(f"hf:{tmp_path}")
    torch.testing.assert_close(again.state_dict(), module.state_dict())
    with pytest.raises(InputError, match="there is no model"):
        module_of(f"hf:{tmp_path / 'nothing'}")


def test_shapes_of_inputs() -> None:
    made = example_of({"a": ["B", 3], "b": {"shape": ["B", 4], "dtype": "int64", "below": 16}})
    assert (made["a"].shape, made["b"].dtype, int(made["b"].max()) < 16) == ((2, 3), torch.int64, True)
    with pytest.raises(InputError, match="input 'a' needs a shape"):
        example_of({"a": 3})
    with pytest.raises(InputError, match="input 'a' takes no 'size'"):
        example_of({"a": {"shape": ["B"], "size": 3}})


def test_the_command(tmp_path: Path, file: Path) -> None:
    shape = "input={shape: [B, 5], dtype: int64, below: 16}"
    call = ["import", f"{file}:make", "--input", shape, "--out", str(tmp_path / "net"), "--json"]
    done = subprocess.run([sys.executable, "-m", "assembler", *call], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["steps"], told["params"]) == (2, 16 * 8 + 8 * 4 + 4)
    assert sorted(p.name for p in (tmp_path / "net").iterdir()) == ["config.json", "graph.txt", "model.safetensors"]
