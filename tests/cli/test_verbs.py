"""Every verb that needs no training: what it prints, what it writes, what `--json` holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_case import last
from typer.testing import Result

Call = Callable[..., Result]
VERBS = [
    "new",
    "run",
    "plan",
    "lint",
    "show",
    "cuts",
    "build",
    "train",
    "search",
    "rewrite",
    "merge",
    "verify",
    "export",
]
VERBS += ["report", "status", "steer", "why", "diff", "pick", "ls", "ops", "parts", "schema", "fmt", "import", "bench"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(call: Call, verb: str) -> None:
    result = call(verb, "--help")
    assert result.exit_code == 0
    assert f"assembler {verb}" in result.stdout or verb == "parts"


def test_help_lists_every_verb(call: Call) -> None:
    listed = [line.split()[0] for line in call("--help").stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert listed == VERBS


def test_version(call: Call) -> None:
    assert call("--version").stdout == "assembler 0.1.0\n"


def test_plan_of_a_run_names_slots_and_counts_parts(call: Call) -> None:
    result = call("plan", "small.yaml", "-o", "seeds=[0, 1]", "--json")
    assert result.exit_code == 0, result.output
    assert "parts        4 to train, over all seeds" in result.stdout
    found = last(result.stdout)
    assert (found["parts"], found["slots"]) == (4, [{"name": "mid", "variants": ["dwconv", "pool"]}])


WAVE = """\
inputs: {x: [B, 8, 32]}
blocks:
  unit:
    body:
      gate: {op: conv1d, out: 8, kernel_size: 1, from: input}
      skip: {op: conv1d, out: 8, kernel_size: 1, from: gate}
      res: {op: conv1d, out: 8, kernel_size: 1, from: gate}
    outputs: {y: res, skip: skip}
graph:
  unit: {op: unit, repeat: 3}
  total: {op: add, from: unit.*.skip}
"""


def test_plan_names_what_blocks_give_out_and_nothing_reads(call: Call, place: Path) -> None:
    (place / "wave.yaml").write_text(WAVE)
    result = call("plan", "wave.yaml", "--json")
    said = "left out     unit.2.res: not computed, since a block gives it out and nothing reads it"
    assert said in result.stdout.splitlines()
    assert last(result.stdout)["left_out"] == ["unit.2.res"]
    assert "left out" not in call("plan", "tiny.yaml").stdout


def test_plan_tells_costs_of_evaluation_from_those_of_training(call: Call) -> None:
    lines = call("plan", "gan", "-o", "model.vars.width=8").stdout.splitlines()
    assert "params       162 in evaluation; 267 with the steps that only training has" in lines
    assert "FLOPs        288 in evaluation; 640 with the steps that only training has" in lines


def test_plan_adds_up_and_follows_overrides(call: Call) -> None:
    small, wide = (last(call("plan", "tiny.yaml", "--json", *more).stdout) for more in ((), ("-o", "vars.dim=8")))
    # stem 4*9+4, mid 4*9+4, head 4*3+3
    assert (small["params"], wide["params"]) == (95, 187)


def test_build_writes_the_model(call: Call, place: Path) -> None:
    result = call("build", "tiny.yaml", "--out", "built", "--json")
    assert result.exit_code == 0, result.output
    assert last(result.stdout)["params"] == 95
    assert sorted(f.name for f in (place / "built").iterdir()) == [
        "config.json",
        "model.pt2",
        "model.py",
        "model.safetensors",
    ]


def test_build_refuses_weights_of_another_model(call: Call) -> None:
    assert call("build", "tiny.yaml", "--out", "built").exit_code == 0
    result = call("build", "tiny.yaml", "-o", "vars.dim=8", "-w", "built/model.safetensors")
    assert result.exit_code == 2
    assert "head.weight" in result.stderr


def test_export_needs_weights(call: Call) -> None:
    result = call("export", "tiny.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: 'tiny.yaml' is a recipe, which has no weights\n    hint: give --weights FILE, or a run folder\n"
    )


def test_export_of_a_recipe_writes_what_is_asked_for(call: Call, place: Path) -> None:
    call("build", "tiny.yaml", "--out", "built")
    result = call("export", "tiny.yaml", "-w", "built/model.safetensors", "--out", "there", "--format", "source")
    assert result.exit_code == 0, result.output
    assert [f.name for f in (place / "there").iterdir()] == ["model.py"]


def test_show_prints_a_graph_that_can_be_read_back(call: Call) -> None:
    from assembler.graph.text import from_text

    result = call("show", "tiny.yaml")
    assert list(from_text(result.stdout).nodes) == ["stem", "mid", "pool", "head"]


def test_show_draws(call: Call, place: Path) -> None:
    assert call("show", "tiny.yaml", "--svg", "g.svg").exit_code == 0
    assert (place / "g.svg").read_text().startswith(("<svg", "<?xml"))
    assert call("show", "tiny.yaml", "--svg", "g.png").exit_code == 2


def test_ls_names_what_is_shipped_and_registered(call: Call) -> None:
    found = last(call("ls", "--json").stdout)
    assert {"quickstart", "convnext_t"} <= {r["name"] for r in found["recipes"]}
    assert {"incubate", "assemble"} <= {p["name"] for p in found["phases"]}
    assert all(one["doc"] for section in found.values() for one in section)


def test_ls_tells_family_and_claims_of_papers(call: Call) -> None:
    result = call("ls", "papers", "--json")
    (found,) = (one for one in last(result.stdout)["papers"] if one["name"] == "pyglove_search")
    assert (found["family"], found["seed"], found["status"]) == ("system", 47, "claims: 6 exact, 4 compared")
    row = next(line for line in result.stdout.splitlines() if line.split()[:1] == ["pyglove_search"])
    assert row.split()[1:4] == ["system", "PyGlove:", "Symbolic"]
    assert "pyglove_search" not in call("ls", "recipes").stdout


def test_ls_of_an_unknown_kind(call: Call) -> None:
    result = call("ls", "samplr")
    assert result.exit_code == 2
    assert result.stderr == "error: there are no 'samplr' to list\n    hint: did you mean 'samplers'?\n"


def test_ops_shows_a_signature(call: Call) -> None:
    result = call("ops", "conv2d")
    assert result.stdout.startswith("conv2d(out, kernel_size, stride=1, ")
    assert "inferred in_channels" in result.stdout


def test_ops_tells_what_an_op_makes_and_is(call: Call) -> None:
    told = call("ops", "lstm").stdout
    assert "  outputs  output, hidden, cell; the first is the step itself, another is read as STEP.NAME" in told
    assert "__init__" not in told and "Apply a multi-layer long short-term memory" in told
    assert "outputs  values, indices" in call("ops", "topk").stdout
    assert "outputs  those that carry and collect name" in call("ops", "loop").stdout
    assert "outputs" not in call("ops", "linear").stdout


def test_ops_lists_what_a_word_is_about(call: Call) -> None:
    said = call("ops", "crop").stdout
    assert "random_crop" in said and "random_resized_crop" in said and "conv2d" not in said


def test_ops_suggests(call: Call) -> None:
    result = call("ops", "lineer")
    assert result.exit_code == 2
    assert "did you mean 'linear'" in result.stderr


def test_a_plugin_is_listed_and_used(call: Call, place: Path) -> None:
    (place / "mine.py").write_text(
        "from torch import Tensor\nfrom assembler import op\n\n\n@op\ndef twice(x: Tensor) -> Tensor:\n"
        '    """Two times x."""\n    return 2 * x\n'
    )
    (place / "own.yaml").write_text((place / "tiny.yaml").read_text().replace("dwconv", "twice"))
    assert call("plan", "own.yaml").exit_code == 2
    assert "Two times x" in call("ops", "--plugin", "mine.py").stdout
    assert call("plan", "own.yaml", "--plugin", "mine.py").exit_code == 0


def test_schema_is_a_json_schema(call: Call) -> None:
    result = call("schema")
    assert result.exit_code == 0, result.output
    assert '"$schema"' in result.stdout


def test_fmt_rewrites_keeps_comments_and_is_then_content(call: Call, place: Path) -> None:
    file = place / "ugly.yaml"
    file.write_text("# about\nkind:   model\nname: 'ugly'\n")
    assert call("fmt", "--check", file).exit_code == 1
    assert file.read_text().startswith("# about\nkind:   model")
    assert call("fmt", file).stdout == f"formatted {file}\n"
    assert file.read_text() == "# about\nkind: model\nname: ugly\n"
    assert call("fmt", "--check", file).exit_code == 0


def test_fmt_leaves_a_wrong_file_and_formats_the_others(call: Call, place: Path) -> None:
    (place / "bad.yaml").write_text("kind: [model\n")
    (place / "ugly.yaml").write_text("kind:   model\n")
    result = call("fmt", "bad.yaml", "ugly.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("bad.yaml:1:")
    assert (place / "ugly.yaml").read_text() == "kind: model\n"
    assert (place / "bad.yaml").read_text() == "kind: [model\n"


def test_report_needs_a_run(call: Call) -> None:
    result = call("report", "nothing")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no run folder 'nothing'\n    hint: there are none in ")
