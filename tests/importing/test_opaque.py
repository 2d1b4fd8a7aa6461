"""Parts that cannot be traced: named by the error, kept as they are on request, their code needed at load."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import assembler as asm
from assembler.compile.lower import lower
from assembler.errors import AssemblerError, GraphError, InputError
from assembler.importing import from_module
from assembler.importing.folder import read, save
from assembler.importing.kept import beside, part
from assembler.importing.sources import module_of
from assembler.infer.cost import total
from assembler.registry.live import LIVE


class Router(nn.Module):
    """Decides by the values that reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(8, 8)

    def forward(self, x: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        if x.mean() > 0:
            return self.up(x) * scale, x
        return self.up(-x) * scale, -x


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.router = Router()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden, side = self.router(self.stem(x), scale=2.0)
        return self.head(hidden + side)


def test_the_error_names_the_part_and_offers_to_keep_it() -> None:
    with pytest.raises(GraphError) as caught:
        from_module(Net(), torch.randn(4, 8))
    assert str(caught.value) == (
        "router: error: 'router' (Router) cannot be traced: `if x.mean() > 0:` (test_opaque.py:30) decides by values "
        "that are known only when it runs\n"
        "    hint: keep it as it is: --opaque router (in Python opaque=['router']); or write the choice without `if`, "
        "as torch.where does"
    )


class Decides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -x if x.sum() > 0 else x


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn(x.shape[0], 4, generator=torch.default_generator)


@pytest.mark.parametrize(
    ("module", "x", "said"),
    [
        (
            Decides(),
            torch.randn(2, 4),
            "error: Decides cannot be traced for any batch: `return -x if x.sum() > 0 else x` (test_opaque.py:60) "
            "decides by values that are known only when it runs\n"
            "    hint: no part of it can be kept in its place: change what it does there, or move that into a part of "
            "its own; or write the choice without `if`, as torch.where does",
        ),
        (
            Noisy(),
            torch.randn(2, 4),
            "error: Noisy cannot be traced for any batch: SymIntArrayRef expected to contain only concrete integers "
            "(test_opaque.py:65)\n"
            "    hint: no part of it can be kept in its place: change what it does there, or move that into a part of "
            "its own",
        ),
        (
            nn.Linear(4, 2),
            torch.randn(4),
            "error: Linear cannot be traced for any batch: it computes something else at another batch than 4\n"
            "    hint: axis 0 of every input is taken for the batch: input [4]",
        ),
    ],
)
def test_a_module_that_cannot_be_traced_says_its_line(module: nn.Module, x: Tensor, said: str) -> None:
    with pytest.raises(GraphError) as caught:
        from_module(module, x, opaque="auto")
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("module", "x", "said"),
    [
        (
            nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(5, 2))),
            torch.randn(2, 4),
            "1.0: error: the module fails on these inputs, before any tracing: in '1.0' (Linear): mat1 and mat2 shapes "
            "cannot be multiplied (2x4 and 5x2)\n"
            "    hint: it was called with input [2, 4]",
        ),
        (
            nn.Sequential(nn.Flatten(0), nn.Linear(4, 2)),
            torch.randn(1, 4),
            "1: error: the module takes one sample and fails on two, before any tracing: in '1' (Linear): mat1 and "
            "mat2 shapes cannot be multiplied (1x8 and 4x2)\n"
            "    hint: the graph of a model takes any batch: the module has to run on several samples",
        ),
    ],
)
def test_a_module_that_fails_by_itself_is_told_so(module: nn.Module, x: Tensor, said: str) -> None:
    with pytest.raises(GraphError) as caught:
        from_module(module, x)
    assert str(caught.value) == said


def test_what_auto_keeps_says_why() -> None:
    found = from_module(Net(), torch.randn(4, 8), opaque="auto")
    assert found.reasons == {
        "router": "`if x.mean() > 0:` (test_opaque.py:30) decides by values that are known only when it runs"
    }


@pytest.mark.parametrize("opaque", [["router"], "auto"])
def test_an_opaque_part_is_one_step_with_its_own_weights(opaque: list[str]) -> None:
    net = Net().eval()
    found = from_module(net, torch.randn(4, 8), opaque=opaque)
    assert found.opaque == ("router",)
    assert found.graph.nodes["router"].op.startswith("opaque.Router_")
    assert found.weights.keys() == net.state_dict().keys()
    x = torch.randn(7, 8)
    torch.testing.assert_close(found.build().eval()(x), net(x))
    assert total(found.graph).params == sum(p.numel() for p in net.parameters())


def test_an_opaque_part_is_trained_with_the_rest_and_apart_from_the_module() -> None:
    net = Net()
    module = from_module(net, torch.randn(4, 8), opaque=["router"]).build().train()
    before = net.router.up.weight.clone()
    module(torch.randn(4, 8)).sum().backward()
    torch.optim.SGD(module.parameters(), 1.0).step()
    assert torch.equal(net.router.up.weight, before)
    assert not torch.equal(module.get_parameter("router.up.weight"), before)


def test_its_name_is_of_what_it_is() -> None:
    a, b = (from_module(Net(), torch.randn(4, 8), opaque=["router"]).graph for _ in range(2))
    assert a.fingerprint == b.fingerprint


def test_its_code_is_needed_to_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = from_module(Net(), torch.randn(4, 8), opaque=["router"])
    save(found, tmp_path)
    assert read(tmp_path).graph == found.graph
    monkeypatch.delitem(LIVE, ("op", found.graph.nodes["router"].op))
    with pytest.raises(GraphError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        "router: error: step 'router' is the Python module Router, whose code is not here\n"
        "    hint: import the model again in this process, from Python"
    )


FILE = """
import torch
from nets import Router
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), Router(), nn.Linear(8, 3))
"""
NETS = """
from torch import nn

class Router(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(8, 8)

    def forward(self, x):
        return self.up(x) if x.mean() > 0 else self.up(-x)
"""


def test_a_folder_with_its_code_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    there = tmp_path / "there"
    there.mkdir()
    (there / "zoo.py").write_text(FILE.replace("nets", "routers"))
    (there / "routers.py").write_text(NETS)
    source = f"{there / 'zoo.py'}:make"
    found = from_module(module_of(source)[0], torch.randn(2, 8), opaque="auto")
    save(found, there / "net", source)
    assert not [file.name for file in (there / "net").iterdir() if str(tmp_path).encode() in file.read_bytes()]
    moved = there.rename(tmp_path / "moved")
    line = [sys.executable, "-m", "assembler", "build", "net", "--plugin", "net/opaque.py"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=moved)
    assert "params       171" in done.stdout, done.stderr
    with pytest.raises(InputError) as caught:
        part(beside(str(tmp_path / "alone" / "opaque.py"), "../zoo.py:make"), "1", found.graph.nodes["1"].op, {})
    said = f"there is no file {tmp_path}/zoo.py, which the model was imported from: move it with the model's folder"
    assert str(caught.value) == f"error: {said}"


def test_a_folder_takes_its_code_from_the_plug_in_file_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "zoo.py").write_text(FILE)
    (tmp_path / "nets.py").write_text(NETS)  # beside the file, where Python looks for it
    source = f"{tmp_path / 'zoo.py'}:make"
    found = from_module(module_of(source)[0], torch.randn(2, 8), opaque="auto")
    save(found, tmp_path / "net", source)
    plugin, op = tmp_path / "net" / "opaque.py", found.graph.nodes["1"].op
    line = [sys.executable, "-m", "assembler", "build", "net", "--plugin", str(plugin)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "params       171" in done.stdout, done.stderr
    monkeypatch.delitem(LIVE, ("op", op))
    with pytest.raises(AssemblerError) as caught:
        asm.plan(tmp_path / "net")
    assert str(caught.value) == (
        "1: error: step '1' is the Python module Router, whose code is not here\n"
        f"    hint: --plugin {plugin} brings it: that file runs the code which the model was imported from"
    )
    with pytest.raises(InputError, match="makes another '1' than the one that was imported"):
        part(source, "1", "opaque.Router_0", {"input": {"shape": [2, 8]}})


class Rows(nn.Module):
    """Routes all places of all samples as rows of one matrix, as mixtures of experts do."""

    def __init__(self) -> None:
        super().__init__()
        self.router = Router()
        self.out = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.router(x.reshape(-1, 8))[0]).view(x.shape)


@pytest.mark.parametrize("opaque", ["auto", ["auto"]])
def test_auto_keeps_the_smallest_part(opaque: list[str]) -> None:
    net = nn.Sequential(Rows()).eval()
    found = from_module(net, torch.randn(2, 5, 8), opaque=opaque)
    assert found.opaque == ("0.router",)
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(found.build().eval()(x), net(x))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_experts_of_transformers_are_traced() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.MixtralConfig(num_key_value_heads=2, num_local_experts=4, vocab_size=20, **sizes)
    module = transformers.MixtralModel(config).eval()
    before = module.config._experts_implementation
    found = from_module(module, {"input_ids": torch.randint(0, 20, (2, 6))})
    assert (found.opaque, module.config._experts_implementation) == ((), before)


def test_a_part_that_is_not_there() -> None:
    with pytest.raises(
        GraphError, match=r"there is no part 'ruter' in Net\n    hint: did you mean 'router' or 'router.up'\?"
    ):
        from_module(Net(), torch.randn(4, 8), opaque=["ruter"])


def test_a_part_that_can_be_traced_may_be_kept_all_the_same() -> None:
    found = from_module(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), torch.randn(2, 4), opaque=["0"])
    assert found.graph.nodes["0"].op.startswith("opaque.Linear_")
    assert lower(found.graph)(torch.randn(3, 4)).shape == (3, 4)
