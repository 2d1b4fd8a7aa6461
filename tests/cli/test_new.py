"""Recipes to begin with: they are right as they are, and can be trained at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_case import last
from typer.testing import Result

Call = Callable[..., Result]


def test_new_recipes_pass_lint_and_are_canonical(call: Call, place: Path) -> None:
    said = call("new", "mine/net")
    assert said.stdout.splitlines() == [
        "wrote mine/net.yaml", "wrote mine/net_run.yaml", "next    assembler run mine/net_run.yaml",
    ]  # fmt: skip
    files = ["mine/net.yaml", "mine/net_run.yaml"]
    assert call("lint", *files).exit_code == 0
    assert call("fmt", "--check", *files).exit_code == 0
    assert call("plan", files[1]).exit_code == 0
    assert len(re.findall(r"^ *# ", "".join((place / f).read_text() for f in files), re.MULTILINE)) > 10


@pytest.mark.slow
def test_a_new_run_learns_the_digits(call: Call) -> None:
    call("new", "net")
    said = call("run", "net_run.yaml", "--workers", "1", "--json")
    assert said.exit_code == 0, said.output
    assert last(said.stdout)["result"]["test"] > 0.5


def test_what_its_comments_say_works(call: Call, place: Path) -> None:
    call("new", "net")
    [command] = re.findall(r"#   assembler search (.*)", (place / "net.yaml").read_text())
    path, change = re.fullmatch(r"(\S+) --data digits -o '(.*)'", command).groups()  # type: ignore[union-attr]
    said = call("plan", path, "-o", change, "--json")
    assert said.exit_code == 0 and last(said.stdout)["space_size"] == 3, said.output


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("tiny", "error: tiny.yaml is there already\n    hint: give another name\n"),
        ("1x", "error: '1x' cannot be a model's name\n    hint: use letters, digits and _\n"),
        ("a b", "error: 'a b' cannot be a model's name"),
    ],
)
def test_nothing_is_written_over(call: Call, place: Path, name: str, told: str) -> None:
    before = sorted(place.iterdir()), (place / "tiny.yaml").read_text()
    said = call("new", name)
    assert said.exit_code == 2 and told in said.stderr
    assert before == (sorted(place.iterdir()), (place / "tiny.yaml").read_text())
