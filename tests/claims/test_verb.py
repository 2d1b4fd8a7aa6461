"""`assembler verify`: the table, the JSON line, the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assembler.cli import main
from assembler.pipeline.claims.spec import ARMS, COMMON, EXACT, TRAINING
from assembler.recipe.document import load, parse, varied
from assembler.recipe.overrides import override
from assembler.schema.claims import claims_schema

MODEL = """\
vars: {dim: 8}
inputs: {x: [B, 4]}
graph: {up: {op: linear, out: =dim}, act: relu}
claims:
  size: {doc: Its size., check: params, expect: == 5 * dim}
  small: {doc: Not large., check: params, expect: < 10}
  sizes: {doc: Grows., arms: {a: {}, b: {vars.dim: 16}}, metric: params, expect: b == 2 * a}
"""


def call(*words: str) -> int:
    """The exit code of the command line, run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["assembler", *words])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    file = tmp_path / "m.yaml"
    file.write_text(MODEL)
    return str(file)


def test_a_claim_that_does_not_hold_is_exit_code_one(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("verify", recipe, "--json") == 1
    out = capsys.readouterr().out
    assert "2 of 3 claims hold" in out
    assert "does not hold" in out
    data = json.loads(out.splitlines()[-1])
    assert data["recipe"] == "m"
    assert data["holds"] is False
    assert {c["claim"]: c["holds"] for c in data["claims"]} == {"size": True, "small": False, "sizes": True}
    assert data["claims"][0]["values"] == [40]
    assert [arm["mean"] for arm in data["claims"][2]["arms"]] == [40, 80]


def test_what_is_not_finite_is_told_as_that(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(recipe).write_text(
        MODEL.replace("act: relu", "act: log").replace("params, expect: < 10", "measure, take: largest, expect: '> -1'")
    )
    assert call("verify", recipe, "--claim", "small") == 1
    assert "not finite" in capsys.readouterr().out


def test_one_claim_and_overrides(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("verify", recipe, "--claim", "size", "-o", "vars.dim=3", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["claims"][0]["values"] == [15]
    assert call("verify", recipe, "--claim", "small", "-o", "vars.dim=1") == 0


def test_bad_input_is_exit_code_two(recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("verify", recipe, "--claim", "sise") == 2
    assert "did you mean 'size' or 'sizes'?" in capsys.readouterr().err
    assert call("verify", str(tmp_path / "none.yaml")) == 2
    (tmp_path / "bad.yaml").write_text(MODEL.replace("check: params, expect: <", "check: parms, expect: <"))
    assert call("verify", str(tmp_path / "bad.yaml")) == 2
    assert "did you mean 'params'?" in capsys.readouterr().err


def test_a_check_of_ones_own_comes_with_a_plug_in(recipe: str, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from assembler.registry import check\n\n\n@check(paths=('of',))\n"
        "def how_many(model, *, of: str | None = None) -> int:\n"
        '    """How many steps there are."""\n    return len(model.plain.nodes)\n'
    )
    own = tmp_path / "own.yaml"
    own.write_text(MODEL.split("claims:")[0] + "claims: {steps: {doc: Two steps., check: how_many, expect: == 2}}\n")
    assert call("verify", str(own)) == 2
    assert call("verify", str(own), "--plugin", str(plugin)) == 0


def test_checks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("ls", "checks", "--json") == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["checks"]
    assert {"causal", "params", "same_function"} <= {one["name"] for one in found}


def test_the_schema_has_the_keys_of_claims() -> None:
    found = claims_schema()
    arms = found["model_claims"]["additionalProperties"]["anyOf"][1]["then"]["properties"]
    assert set(arms) == {*COMMON, *ARMS, *TRAINING}
    exact = found["claim.check"]["allOf"][0]["then"]["properties"]
    assert {*COMMON, *EXACT} <= set(exact)


def test_an_override_goes_over_what_the_recipe_sets() -> None:
    text = "vars: {dim: 4}\nset: {vars.dim: 8}\ninputs: {x: [B, 4]}\ngraph: {fc: {op: linear, out: =dim}}\n"
    assert parse(text).default.get("vars").get("dim").value == 8
    assert parse(text, overrides=["vars.dim=16"]).default.get("vars").get("dim").value == 16
    again = varied(parse(text, overrides=["vars.dim=16"]), [override("fc.bias=false")])
    assert again.default.get("vars").get("dim").value == 16
    run = load("quickstart", ["vars.depth=1"])
    assert varied(run, [override("train.lr=0.1")]).default.get("vars").get("depth").value == 1
