"""The wheel and the editable install, each in an environment of its own, used from a neutral folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEAKS = ("cli", "spaces", "recipes", "tests", "benchmarks")


def call(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    found = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert found.returncode == 0, found.stderr + found.stdout
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return next(out.glob("*.whl"))


def environment(folder: Path) -> Path:
    """A new environment that sees this one's dependencies, but neither its `.pth` files nor this package."""
    call(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    site = next((folder / "lib").glob("python*/site-packages"))
    # A path in a .pth file is searched, but .pth files in it (an editable install's) are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin"


def check(bin_: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    keep = ("PATH", "HOME", "LANG", "OMP_NUM_THREADS")
    env = {k: v for k, v in os.environ.items() if k in keep}
    env |= {"ASSEMBLER_HOME": str(tmp_path / "home"), "ASSEMBLER_RUNS": str(tmp_path / "runs")}
    listed = call(bin_ / "assembler", "ls", cwd=away, env=env).stdout
    assert "quickstart" in listed and "poolformer" in listed
    planned = call(bin_ / "assembler", "plan", "quickstart", "--json", cwd=away, env=env).stdout
    assert json.loads(planned.splitlines()[-1])["recipe"] == "quickstart"
    find = f"import importlib.util as u, json; print(json.dumps([n for n in {LEAKS!r} if u.find_spec(n)]))"
    assert json.loads(call(bin_ / "python", "-c", find, cwd=away, env=env).stdout) == []
    data = "from assembler.train.data import load; print(len(load({'name': 'digits'}).train))"
    assert call(bin_ / "python", "-c", data, cwd=away, env=env).stdout.strip() == "1100"


def test_a_wheel_works_alone_and_leaks_nothing(wheel: Path, tmp_path: Path) -> None:
    bin_ = environment(tmp_path / "venv")
    call(bin_ / "python", "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    check(bin_, tmp_path)


def test_an_editable_install_works_and_leaks_nothing(tmp_path: Path) -> None:
    bin_ = environment(tmp_path / "venv")
    options = ("-q", "--no-deps", "--no-index", "--no-build-isolation")
    call(bin_ / "python", "-m", "pip", "install", *options, "-e", ROOT, cwd=tmp_path)
    check(bin_, tmp_path)


def test_the_wheel_holds_the_recipes_the_data_and_the_licences(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "assembler/recipes/quickstart.yaml" in names
    assert "assembler/train/data/digits.npz" in names
    assert "assembler/py.typed" in names
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert any(n.endswith("digits.LICENSE.md") for n in names)
    assert not [n for n in names if n.split("/")[0] in LEAKS]


def test_a_bare_checkout_runs_without_an_install(tmp_path: Path) -> None:
    env = {**os.environ, "ASSEMBLER_HOME": str(tmp_path), "PYTHONPATH": ""}
    assert "quickstart" in call(sys.executable, ROOT / "cli.py", "ls", cwd=tmp_path, env=env).stdout
