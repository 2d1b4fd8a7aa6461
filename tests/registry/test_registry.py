"""Registries: signatures read from text are those of the living things; nothing runs before it is used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import Tensor, nn

from assembler import registry
from assembler.errors import AssemblerError, InputError
from assembler.registry import Channels, Entry, catalog
from assembler.registry.live import LIVE, describe, op
from assembler.train.spec import signature

PACKAGE = Path(__file__).resolve().parents[1] / "plugin_package"
KINDS = ("op", "loss", "dataset", "optimizer", "sampler", "phase")
BUILTIN = [(kind, name) for kind in KINDS for name in registry.names(kind) if (kind, name) not in LIVE]


@pytest.fixture
def clean() -> Iterator[None]:
    """The registry as it was, after a test that adds to it."""
    plugins, live = list(catalog._plugins), dict(LIVE)
    yield
    catalog._plugins[:] = plugins
    LIVE.clear()
    LIVE.update(live)
    catalog._index.cache_clear()
    catalog.find.cache_clear()


@pytest.mark.parametrize(("kind", "name"), BUILTIN)
def test_a_signature_read_from_text_is_the_living_one(kind: str, name: str) -> None:
    read = registry.lookup(kind, name)
    live = describe(kind, name, read.load(), dict(read.options))

    def facts(entry: Entry) -> list[object]:
        params = [(p.name, p.type, p.argument, p.inferred, p.required) for p in entry.params]
        return [params, entry.inputs, entry.variadic, entry.optional, entry.shape, entry.qualname, entry.options]

    assert facts(read) == facts(live)
    defaults = {p.name: p.default for p in live.params}
    assert {p.name: p.default for p in read.params if p.default is not None}.items() <= defaults.items()
    assert read.doc.split() == live.doc.split()


def test_every_registered_thing_has_a_description() -> None:
    assert [f"{kind} {name}" for kind, name in BUILTIN if not registry.lookup(kind, name).doc] == []


def test_the_settings_of_a_training_are_read_from_text_too() -> None:
    read, live = registry.settings("train"), signature()
    assert [(p.name, p.type, p.default) for p in read.params] == [(p.name, p.type, p.default) for p in live.params]
    assert {"data", "sampler", "trials"} <= set(registry.settings("search").arguments)


@pytest.mark.parametrize(
    ("name", "cls"),
    [("conv2d", "Conv2d"), ("layer_norm", "LayerNorm"), ("gelu", "GELU"), ("batch_norm2d", "BatchNorm2d"),
     ("adaptive_avg_pool2d", "AdaptiveAvgPool2d"), ("relu6", "ReLU6"), ("pixel_shuffle", "PixelShuffle")],
)  # fmt: skip
def test_a_torch_class_is_an_op_under_two_names(name: str, cls: str) -> None:
    found = registry.lookup("op", name)
    assert found == registry.lookup("op", cls)
    assert found.load() is getattr(nn, cls)


def test_the_width_of_a_torch_op_is_called_out() -> None:
    found = registry.lookup("op", "conv2d")
    assert found.param("out") is found.param("out_channels") is not None
    width = found.param("in_channels")
    assert width is not None
    assert (width.inferred, width.required) == ("axis 1", False)


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("op", "conv2", "did you mean 'conv2d'"),
        ("op", "Conv2D", "Conv2d"),
        ("op", "layernorm", "did you mean 'layer_norm'"),
        ("op", "atention", "did you mean 'attention'"),
        ("op", "zzzzzz", "`assembler ops` lists them"),
        ("op", "aten.lt", "write which form is meant: aten.lt.Scalar or aten.lt.Tensor"),
        ("op", "aten.zzzzzz", "`assembler ops` lists them"),
        ("loss", "cross_entrpy", "did you mean 'cross_entropy'"),
        ("loss", "zzzzzz", "`assembler ls losses` lists them"),
        ("dataset", "digit", "did you mean 'digits'?"),
        ("sampler", "exakt", "did you mean 'exact'?"),
        ("phase", "serch", "did you mean 'search'?"),
        ("optimizer", "adam", "did you mean 'adamw'?"),
    ],
)
def test_near_names(kind: str, name: str, hint: str) -> None:
    with pytest.raises(AssemblerError, match=f"unknown {kind} '{name}'") as caught:
        registry.lookup(kind, name)
    assert hint in caught.value.problems[0].hint


PLUGIN = '''
from pathlib import Path
from torch import Tensor, nn
from assembler import op

Path({mark!r}).touch()


@op
def {name}(x: Tensor, slope: float = 0.5, *, mode: str = "a") -> Tensor:
    """Scale."""
    return x * slope


@op("gate", commutative=True)
class Gate(nn.Module):
    """Gate."""

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, a: Tensor, b: Tensor | None = None) -> Tensor:
        return a
'''


def plugin(folder: Path, name: str, mark: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "mine.py"
    file.write_text(PLUGIN.format(name=name, mark=str(folder / mark)).replace('"gate"', f'"gate_{name}"'))
    return file


@pytest.mark.usefixtures("clean")
def test_a_plug_in_file_is_read_and_not_run(tmp_path: Path) -> None:
    file = plugin(tmp_path / "a", "twice", "was_run")
    registry.add_plugin(file)
    registry.add_plugin(file)
    found, gate = registry.lookup("op", "twice"), registry.lookup("op", "gate_twice")
    assert registry.plugins().count(file) == 1
    assert (found.inputs, found.arguments, found.doc) == (("x",), ("slope", "mode"), "Scale.")
    assert (gate.inputs, gate.optional, gate.option("commutative")) == (("a", "b"), 1, True)
    assert "twice" in registry.names("op")
    assert not (tmp_path / "a" / "was_run").exists()
    assert found.load()(3.0) == 1.5
    assert (tmp_path / "a" / "was_run").exists()


@pytest.mark.usefixtures("clean")
def test_two_plug_in_files_of_one_name_do_not_mix(tmp_path: Path) -> None:
    registry.add_plugin(plugin(tmp_path / "a", "first_op", "run"))
    registry.add_plugin(plugin(tmp_path / "b", "second_op", "run"))
    assert registry.lookup("op", "first_op").load().__name__ == "first_op"
    assert registry.lookup("op", "second_op").load().__name__ == "second_op"


@pytest.mark.usefixtures("clean")
def test_a_clash_names_both_providers(tmp_path: Path) -> None:
    first, second = plugin(tmp_path / "a", "same_op", "run"), plugin(tmp_path / "b", "same_op", "run")
    registry.add_plugin(first)
    registry.add_plugin(second)
    with pytest.raises(AssemblerError) as caught:
        registry.lookup("op", "relu")
    assert str(caught.value) == f"error: op 'same_op' is registered by both {first} and {second}"


def test_no_plug_in_file() -> None:
    with pytest.raises(InputError, match=r"no plug-in file /nowhere/x\.py"):
        registry.add_plugin("/nowhere/x.py")


@pytest.mark.usefixtures("clean")
def test_a_definition_in_a_test_or_a_notebook_is_entered_at_once() -> None:
    @op("live_scale")
    def scale(x: Tensor, dim: Channels, by: float = 2.0) -> Tensor:
        """Scale."""
        return x * by

    found = registry.lookup("op", "live_scale")
    assert [(p.name, p.inferred) for p in found.params] == [("dim", "axis 1"), ("by", "")]
    assert found.load() is scale
    with pytest.raises(AssemblerError, match="op 'live_scale' is already registered by"):

        @op("live_scale")
        def other(x: Tensor) -> Tensor:
            return x


def install(folder: Path) -> None:
    """What pip leaves of tests/plugin_package: its metadata."""
    info = folder / "fancy_parts-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fancy-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[assembler.plugins]\nfancy = fancy_parts.ops\n")


def test_an_installed_package_offers_ops_and_is_not_imported_before_they_are_used(tmp_path: Path) -> None:
    install(tmp_path / "site")
    code = (
        "import os, sys\n"
        "from assembler import registry\n"
        "found = registry.lookup('op', 'swish_clip')\n"
        "marked = os.path.exists('fancy_parts_was_imported')\n"
        "print(found.arguments, found.module, 'fancy_parts' in sys.modules, marked)\n"
        "import torch\n"
        "print(found.load()(torch.tensor([10.0])).item(), 'fancy_parts' in sys.modules)\n"
        "print(registry.lookup('op', 'swish_clip').code == found.code)\n"
    )
    paths = [str(tmp_path / "site"), str(PACKAGE), str(PACKAGE.parents[1])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=env)
    assert done.stdout.splitlines() == [
        "('limit',) fancy_parts.ops False False", "6.0 True", "True",
    ], done.stderr  # fmt: skip


def test_names_are_what_recipes_can_write() -> None:
    known = ((kind, name) for kind in KINDS for name in registry.names(kind, torch=True))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for kind, name in known if (kind, name) not in LIVE)


def test_the_code_of_what_is_registered_is_the_same_in_every_process() -> None:
    """Products are keyed by it: a set in it, whose order is another in each process, would have all made again."""
    text = (
        "from assembler import registry\n"
        "aten = ['aten.scaled_dot_product_attention', 'aten.zeros_like', 'aten.addmm', 'aten.new_full']\n"
        "print([registry.lookup('op', name).code for name in aten])\n"
        f"print([registry.lookup(k, name).code for k in {KINDS!r} for name in registry.names(k)])\n"
    )
    found = set()
    for seed in ("1", "2", "3", "4"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        ran = subprocess.run([sys.executable, "-c", text], env=env, capture_output=True, text=True, check=True)
        found.add(ran.stdout)
    assert len(found) == 1
