from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from compile_graphs import hybrid, node, plain
from torch import Tensor, nn

from assembler import registry
from assembler.compile.lower import lower
from assembler.compile.source import to_source
from assembler.compile.weights import save_weights
from assembler.errors import GraphError
from assembler.graph.core import Graph, Node, TensorType
from assembler.registry import Channels, Shape, op
from assembler.registry import op as known_as

BIAS = 0.25

CHECK = """
import sys
try:
    import assembler
    sys.exit("assembler is importable here")
except ImportError:
    sys.path.insert(0, sys.argv[1])
import torch, model
inputs, wanted = torch.load(sys.argv[1] + "/io.pt")
made = model.load()(*inputs)
pairs = [(made[k], wanted[k]) for k in wanted] if isinstance(wanted, dict) else [(made, wanted)]
assert all(torch.equal(a, b) for a, b in pairs), "outputs differ"
assert list(model.load().state_dict()) == list(model.Model().state_dict())
print("equal", len(pairs))
"""


def halved(x: Tensor) -> Tensor:
    """What the op below uses of this file."""
    return x / 2 - BIAS


class Inner(nn.Module):
    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None, None]


@op("compile_test_made")
def made(channels: Channels, *, times: int = 1) -> nn.Module:
    """A factory that uses a class of this file."""
    return nn.Sequential(*(Inner(channels) for _ in range(times)))


@op("compile_test_load")
def load(x: Tensor, shape: Shape, even: bool = True) -> Tensor:
    """It has the name of the file's own function, and a proxy cannot trace it."""
    return halved(x) if x.shape[0] % 2 == 0 and even else halved(x) + len(shape)


@known_as("compile_test_tall")
def tall(x: Tensor, width: registry.Features) -> Tensor:
    """The registry under other names."""
    return x + width if x.shape[0] > 1 else x


@op("compile_test_slices")
def slices(x: Tensor, at: tuple[int, ...] = (1, 2)) -> Tensor:
    """Indexing, negation, a value used twice and nested arithmetic."""
    head = x[:, 0:2, ..., None].flatten(1)
    return -((head + 1) ** 2) / (head * head - at[0] * (head + at[1])).clamp(min=-1.5).abs().add(1.0) - float("-inf")


def run(folder: Path, graph: Graph, *inputs: Tensor) -> str:
    """Write the file and its weights, run it where the package is not importable, compare; the file's text."""
    module = lower(graph).eval()
    for p in module.parameters():
        nn.init.normal_(p)
    save_weights(module, folder / "model.safetensors")
    text = to_source(graph)
    (folder / "model.py").write_text(text)
    torch.save((inputs, module(*inputs)), folder / "io.pt")
    # Without `site` an editable install is not seen; torch is found where it lies.
    found = f"import sys; sys.path.append({sysconfig.get_paths()['purelib']!r})\n"
    command = [sys.executable, "-I", "-S", "-c", found + CHECK, str(folder)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + text
    return text


def test_a_whole_model_is_bit_equal_without_the_package(tmp_path: Path) -> None:
    text = run(tmp_path, hybrid(), torch.randn(3, 3, 16, 16))
    assert '"""hybrid: 17,396 parameters. Written by assembler; it needs torch alone.\n' in text
    assert "    image [B, 3, 16, 16] -> logits [B, 10], feature [B, 40]\n" in text
    assert "        self.stem = nn.Conv2d(in_channels=3, out_channels=16, kernel_size=3, padding=1)\n" in text
    assert "        self.stage = nn.ModuleList(Stage() for _ in range(2))\n" in text
    assert "        for stage in self.stage:\n            x = stage(x)  # [B, 16, 24]\n" in text
    assert "        mix_norm = self.mix.norm(x)  # [B, 16, 24]\n" in text
    assert "        mix = x + mix_scale  # [B, 16, 24]\n" in text
    assert "cat = torch.cat((gap, tap), 1)  # [B, 40]\n" in text
    assert '        return {"logits": head, "feature": cat}\n' in text.replace("'", '"')
    body = text.split('"""', 2)[2]
    assert "assembler" not in body and "@op" not in body and "Channels" not in body


def test_ops_of_ones_own_come_with_all_that_they_use(tmp_path: Path) -> None:
    nodes = {
        "tall": node("compile_test_tall", "x"),
        "a": node("compile_test_made", "tall", times=2),
        "load": node("compile_test_load", "a"),
        "3": node("linear", "load", out=4),
        "class": node("compile_test_slices", "3"),
        "self": node("add", "class", "class"),
    }
    text = run(tmp_path, plain(nodes, 2, 3, 4, 4), torch.randn(3, 3, 4, 4))
    names = [n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    assert names == ["tall", "Inner", "made", "halved", "load_test_source", "Model", "load"]
    assert "\nBIAS = 0.25\n" in text
    assert "\ndef tall(x: Tensor, width: int) -> Tensor:" in text
    assert "def made(channels: int, *, times: int = 1) -> nn.Module:" in text


def test_the_packages_function_ops_are_written_as_torch_expressions(tmp_path: Path) -> None:
    nodes = {
        "tokens": node("map_to_tokens", "x"),
        "map": node("rearrange", "tokens", pattern="b (h w) c -> b c h w", sizes=(("h", 6),)),
        "split": node("rearrange", "map", pattern="b (h c) y x -> b c (h y) x", sizes=(("h", 2),)),
        "turned": node("transpose", "split"),
        "moved": node("permute", "turned", dims=(0, 3, 1, 2)),
        "nothing": node("zero", "moved"),
        "less": Node("sub", (), (("a", "moved"), ("b", "nothing"))),
        "times": node("mul", "less", "moved"),
        "flat": node("reshape", "times", shape=(-1,)),
    }
    text = run(tmp_path, plain(nodes, 2, 4, 6, 6), torch.randn(3, 4, 6, 6))
    names = [n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    assert names == ["Model", "load"]


def test_several_inputs_by_name(tmp_path: Path) -> None:
    step = Node("attention", (("num_heads", 2),), (("x", "q"), ("kv", "context")))
    inputs = (("q", TensorType((2, 5, 8))), ("context", TensorType((2, 7, 6))))
    graph = Graph(inputs, {"cross.token": step}, (("y", "cross.token"),), name="cross")
    text = run(tmp_path, graph, torch.randn(3, 5, 8), torch.randn(3, 7, 6))
    assert "def forward(self, q: Tensor, context: Tensor) -> Tensor:" in text
    assert "cross_token = self.cross.token(q, kv=context)  # [B, 5, 8]" in text


def test_a_name_cannot_break_out_of_the_docstring() -> None:
    graph = plain({"a": node("relu", "x")}, 2, 3)
    hostile = Graph(graph.inputs, graph.nodes, graph.outputs, name='x"""\nimport os\n"""')
    assert not any(isinstance(n, ast.Import) and n.names[0].name == "os" for n in ast.parse(to_source(hostile)).body)


def test_an_op_whose_source_cannot_stand_alone_is_refused() -> None:
    outside = 3

    @op("compile_test_closure")
    def closure(x: Tensor) -> Tensor:
        return x * outside if x.shape[0] % 2 else x

    with pytest.raises(GraphError) as told:
        to_source(plain({"a.b": node("compile_test_closure", "x")}, 2, 3))
    problem = told.value.problems[0]
    assert problem.path == "a.b"
    said = ".closure uses variables of the function around it, so no stand-alone file can hold it"
    assert problem.message.endswith(said)
