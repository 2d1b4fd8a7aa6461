"""Everything in the README runs: its files are written, its commands and its Python executed, its tables generated."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import assembler as asm
from docs.generate import PAGES, tables

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)


def blocks() -> Iterator[tuple[str, str, str]]:
    for found in BLOCK.finditer(README):
        yield found["file"] or "", found["language"], found["text"]


def environment(folder: Path) -> dict[str, str]:
    bin_ = Path(sys.executable).parent
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ASSEMBLER")}
    path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "ASSEMBLER_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def test_every_file_command_and_snippet_works_in_order(tmp_path: Path) -> None:
    env = environment(tmp_path)
    ran = 0
    for file, language, text in blocks():
        if file:
            (tmp_path / file).write_text(text, encoding="utf-8")
        elif language == "bash":
            command = ["bash", "-euo", "pipefail", "-c", text]
            found = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
            assert found.returncode == 0, f"{text}\n{found.stdout}\n{found.stderr}"
            ran += 1
        elif language == "python":
            command = [sys.executable, "-c", text]
            found = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
            assert found.returncode == 0, f"{text}\n{found.stdout}\n{found.stderr}"
            ran += 1
    assert ran == 7
    assert (tmp_path / "exported" / "model.py").is_file()
    assert (tmp_path / "runs" / "my_run" / "latest" / "report.html").is_file()


def test_make_run_and_make_test_do_what_the_readme_says() -> None:
    for target, wanted in (("run", "assembler run quickstart"), ("test", "-m pytest")):
        said = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert wanted in said
        assert "constraints.txt" in said or (ROOT / ".venv" / ".installed").is_file()


@pytest.mark.parametrize("name", ["recipes", "papers", "figures"])
def test_generated_tables_are_current(name: str) -> None:
    written = tables()[name]
    assert f"<!-- table: {name} -->\n{written}<!-- end -->" in README, "run `python -m docs.generate`"


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_current(name: str) -> None:
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == PAGES[name](), "run `python -m docs.generate`"


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_the_python_page_has_every_call() -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    functions = [getattr(asm, name) for name in asm.__all__ if inspect.isfunction(getattr(asm, name))]
    calls = [f.__name__ for f in functions if not f.__module__.startswith("assembler.registry")]
    assert sorted(re.findall(r"^## `(\w+)`", text, re.MULTILINE)) == sorted(calls)
