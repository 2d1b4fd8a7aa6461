"""What docs/tables.md shows does what it says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assembler.cli.app import app
from assembler.errors import RecipeError
from assembler.search.tables import open_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tables.md"


def shown(language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [body for said, body in blocks if said == language]


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pets.csv").write_text(shown("csv")[0])
    (tmp_path / "pets.yaml").write_text(shown("yaml")[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_runs(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = shown("python")
    exec(compile(code, str(PAGE), "exec"), {})
    assert re.fullmatch(r"random 0\.8\d\d \+- 0\.0\d\d, bayes 0\.8\d\d \+- 0\.0\d\d\n", capsys.readouterr().out)


def test_the_command_runs(pets: Path) -> None:
    (line,) = [line for line in shown("")[0].splitlines() if line.startswith("assembler ")]
    words = shlex.split(line)[1:]
    words[words.index("--seeds") + 1] = "3"
    ran = CliRunner().invoke(app, [*words, "--report", "loss", "--json"])
    assert ran.exit_code == 0, ran.output
    data = json.loads(ran.stdout.splitlines()[-1])
    assert [one["sampler"] for one in data["samplers"]] == ["random", "bayes", "evolution population_size=5"]
    assert all(len(one["curve"]) == 8 and 0.8 <= one["best"] <= 0.85 for one in data["samplers"])
    wrong = CliRunner().invoke(app, ["bench", "pets.yaml", "--metric", "acuracy"])
    assert wrong.exit_code == 2
    assert "table 'pets' has no metric 'acuracy'\n    hint: did you mean 'accuracy'?" in wrong.output
    wrong = CliRunner().invoke(app, ["bench", "pets.yaml", "--sampler", "evolutoin"])
    assert wrong.exit_code == 2
    assert "unknown sampler 'evolutoin'\n    hint: did you mean 'evolution'?" in wrong.output


def test_the_error_that_is_shown_is_the_one_that_comes(pets: Path) -> None:
    text = (pets / "pets.yaml").read_text()
    (pets / "pets.yaml").write_text(text.replace("accuracy: maximize", "accuracy: maximise"))
    with pytest.raises(RecipeError) as error:
        open_table("pets.yaml")
    assert shown("")[1].strip() == str(error.value)
